"""What classes ask of those that are made from them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import advkeras


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """All classes of the package, each with its file."""
    for file in Path(advkeras.__file__).parent.rglob("*.py"):
        for each in ast.walk(ast.parse(file.read_text())):
            if isinstance(each, ast.ClassDef):
                yield file.name, each


def is_empty(method):
    """Whether a method has a docstring and nothing else, though it is to return something."""
    returns = method.returns is not None and ast.unparse(method.returns) != "None"
    return returns and len(method.body) == 1 and ast.get_docstring(method) is not None


def is_changeable(each):
    """Whether a class is a dataclass whose fields can be assigned."""
    calls = [decorator for decorator in each.decorator_list if "dataclass" in ast.unparse(decorator)]
    frozen = [word for call in calls for word in getattr(call, "keywords", ()) if ast.unparse(word) == "frozen=True"]
    return bool(calls) and not frozen


def test_a_method_without_a_body_must_be_written_by_subclasses():
    missing = []
    for file, each in classes():
        if "Protocol" in map(ast.unparse, each.bases):
            continue
        for method in each.body:
            if isinstance(method, ast.FunctionDef) and is_empty(method):
                decorated = [ast.unparse(decorator) for decorator in method.decorator_list]
                missing += [] if "abc.abstractmethod" in decorated else [f"{file}: {each.name}.{method.name}"]
    assert missing == []


def test_a_record_does_not_change():
    assert [f"{file}: {each.name}" for file, each in classes() if is_changeable(each)] == []
