"""What a command's user is told when it fails: one line, whatever was raised."""

import errno
import os
from typing import Any

import typer

from advkeras.errors import AdvkerasError, InvalidInputError, first_line, is_of_memory, plain_text

DEBUG = "ADVKERAS_DEBUG"
# What is wrong with a place that was given, and not with the machine.
_OF_A_PLACE = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY),
}


def is_debugging() -> bool:
    """Whether the user wants to see where an error comes from."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def in_one_line(error: Exception) -> AdvkerasError:
    """An error as one that says in a line what happened, and what to do."""
    if isinstance(error, AdvkerasError):
        return error
    if isinstance(error, typer.Abort):
        return AdvkerasError("aborted")
    # Click's errors of usage; which package they come from differs between versions of Typer.
    if hasattr(error, "format_message"):
        return InvalidInputError(_usage(error))
    if is_of_memory(error):
        return AdvkerasError(f"not enough memory: give less at once (--memory 1GB). Received: {first_line(error)}")
    if isinstance(error, OSError) and error.strerror:
        where = f": {plain_text(error.filename)}" if error.filename is not None else ""
        kind = InvalidInputError if error.errno in _OF_A_PLACE else AdvkerasError
        return kind(f"the system says: {error.strerror}{where}")
    return AdvkerasError(
        f"a fault of advkeras: {type(error).__name__}: {first_line(error)}. advkeras --debug COMMAND shows where; "
        "please report it"
    )


def _usage(error: Any) -> str:
    """What is wrong with a command line."""
    if getattr(error, "option_name", None) == "--load":
        return "--load stands before the command's name: advkeras --load FILE COMMAND ..."
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    option = getattr(error, "param", None)
    if option is not None and option.nargs > 1:
        message += f": {option.opts[0]} takes {option.nargs} values, {option.opts[0]} {option.metavar}"
    # Newer versions of Typer parse by Pydantic, which knows what it was given.
    parsed = getattr(error.__context__, "errors", None)
    if parsed is not None:
        message += f". Received: {parsed()[0].get('input')!r}"
    return f"{message} (see advkeras {' '.join(context.command_path.split()[1:])} --help)" if context else message
