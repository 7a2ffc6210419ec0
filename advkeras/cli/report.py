"""``advkeras report``."""

from pathlib import Path
from typing import Annotated

import typer

from advkeras.cli import options
from advkeras.cli.console import err, out
from advkeras.errors import InvalidInputError


def report(
    results: Annotated[
        str,
        typer.Argument(
            help="results.json, curve.json, boundaries.json or detection.json; or the folder or URL of a run, finished "
            "or not."
        ),
    ],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Put the Markdown into a file, between its lines <!-- BLOCK --> and <!-- /BLOCK -->."),
    ] = None,
    block: Annotated[str, typer.Option(help="Name of the block that --into fills.")] = "results",
    require: options.Require = None,
) -> None:
    """Print the tables of an evaluation, of curves, boundaries or detectors again, without a model.

    Of an unfinished run it is what there is so far; what several machines have computed is put together.

    Example: [bold]advkeras report advkeras-results/mnist[/]
    """
    from advkeras.evaluation.requirements import Requirement, hold
    from advkeras.evaluation.results import Evaluation
    from advkeras.files import write_atomically
    from advkeras.reporting.documents import read_documents, replace_block

    requirements = [Requirement.parse(each) for each in require or ()]
    documents = read_documents(results)
    evaluations = [each.results for each in documents if isinstance(each.results, Evaluation)]
    if requirements and not evaluations:
        raise InvalidInputError(f"{results} holds no evaluation that --require could be held against")
    text = "\n".join(document.markdown for document in documents)
    if into is not None:
        try:
            page = into.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"cannot read {into}: {error}") from None
        write_atomically(into, replace_block(page, text, str(into), block).encode())
        out.print(f"tables written into {into}")
    elif markdown:
        print(text, end="")
    else:
        for document in documents:
            for table in document.tables:
                out.print(table)
            out.print(document.caption, style="bright_black")
    for evaluation in evaluations:
        for line in hold(evaluation, requirements):
            err.print(line, soft_wrap=True)
