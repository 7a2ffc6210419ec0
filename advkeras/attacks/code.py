"""The code of attacks that are no part of advkeras: how a file of them is run, and what tells that it has changed."""

import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path

from advkeras.errors import require
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
    """Of the files of an attack's code: its own and those of its package, or beside it; empty for advkeras itself."""
    module = sys.modules.get(module_name)
    if module_name.startswith("advkeras.") or getattr(module, "__file__", None) is None:
        return ""
    digest = hashlib.sha256()
    for file in sorted(_files_of(module_name)):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _files_of(module_name: str) -> set[Path]:
    files = {name: file for name, each in list(sys.modules.items()) if (file := getattr(each, "__file__", None))}
    own, package = files[module_name], module_name.partition(".")[0]
    beside = _resolved(own).parent if module_name.startswith(_LOADED) else None
    chosen = {
        Path(file)
        for name, file in files.items()
        if name.partition(".")[0] == package or (beside is not None and _resolved(file).is_relative_to(beside))
    }
    return {file for file in chosen if file.is_file()}


@cache
def _resolved(file: str) -> Path:
    return Path(file).resolve()
