"""What classes ask of those that are made from them."""

import ast
from pathlib import Path

import advkeras


def is_empty(method):
    """Whether a method has a docstring and nothing else, though it is to return something."""
    returns = method.returns is not None and ast.unparse(method.returns) != "None"
    return returns and len(method.body) == 1 and ast.get_docstring(method) is not None


def test_a_method_without_a_body_must_be_written_by_subclasses():
    missing = []
    for file in Path(advkeras.__file__).parent.rglob("*.py"):
        for each in ast.walk(ast.parse(file.read_text())):
            if not isinstance(each, ast.ClassDef) or "Protocol" in map(ast.unparse, each.bases):
                continue
            for method in each.body:
                if isinstance(method, ast.FunctionDef) and is_empty(method):
                    decorated = [ast.unparse(decorator) for decorator in method.decorator_list]
                    missing += [] if "abc.abstractmethod" in decorated else [f"{file.name}: {each.name}.{method.name}"]
    assert missing == []
