"""The code of attacks that are no part of advkeras: how a file of them is run, and what tells that it has changed."""

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from advkeras.errors import AdvkerasError, first_line, is_of_memory, require
from advkeras.runs.worker import send_by_value

_LOADED = "_loaded_"


def run_file(path: Path) -> None:
    """Runs a Python file as a module of its own, which may import what lies beside it, as a script may."""
    # Files of one name in different folders are different modules.
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"{_LOADED}{place}_{path.stem}", path)
    require(spec is not None and spec.loader is not None, "a file to load must be Python", file=str(path))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    sys.modules[module.__name__] = module
    send_by_value(module)
    spec.loader.exec_module(module)  # type: ignore[union-attr]


def checksum(module_name: str) -> str:
    """Of the files of an attack's code: its own and those of its package; empty for advkeras itself.

    Of a file that was run by :func:`run_file`, those beside it that it imports, and they in turn.
    """
    if _is_ours(module_name):
        return ""
    digest = hashlib.sha256()
    for file in sorted(_files_of(module_name)):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


@contextmanager
def blamed(title: str, module_name: str) -> Iterator[None]:
    """Errors that an attack's code raises here say where in it; those of advkeras itself stay as they are.

    Args:
        title: of the attack.
        module_name: of its class.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, AdvkerasError | OSError) or is_of_memory(error) or _is_ours(module_name):
            raise
        file = str(sys.modules[module_name].__file__)
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
        where = f"{file}, line {lines[-1]}" if lines else file
        raise AdvkerasError(f"{title} has failed in {where}: {type(error).__name__}: {first_line(error)}") from error


def _is_ours(module_name: str) -> bool:
    """Whether a module is part of advkeras, or has no file."""
    return module_name.startswith("advkeras.") or getattr(sys.modules.get(module_name), "__file__", None) is None


def _files_of(module_name: str) -> set[Path]:
    files = {name: Path(file) for name, each in list(sys.modules.items()) if (file := getattr(each, "__file__", None))}
    own, package = files[module_name], module_name.partition(".")[0]
    chosen = {file for name, file in files.items() if name.partition(".")[0] == package}
    if module_name.startswith(_LOADED):
        beside = _resolved(own).parent
        near = {name: file for name, file in files.items() if _lies_beside(_resolved(file), beside)}
        waiting = {own}
        while waiting:
            imported = {name for file in waiting for name in _imported(file)}
            waiting = {file for name, file in near.items() if name.partition(".")[0] in imported} - chosen
            chosen |= waiting
    return {file for file in chosen if file.is_file()}


def _lies_beside(file: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, and not among the packages of an environment that lies there, too."""
    return file.is_relative_to(folder) and "site-packages" not in file.relative_to(folder).parts


def _imported(file: Path) -> set[str]:
    """The packages and modules that a Python file imports, wherever in it, by the first part of their names."""
    if file.suffix != ".py" or not file.is_file():
        return set()
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}


@cache
def _resolved(file: Path) -> Path:
    return file.resolve()
