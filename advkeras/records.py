"""Results as data: dataclasses that are written as JSON, and checked when they are read again, by their types alone."""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from advkeras import limits
from advkeras.errors import InvalidInputError, first_line, plain_text

T = TypeVar("T")


_ADAPTERS: dict[Any, Any] = {}


def _adapter(kind: Any) -> Any:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def plain(record: Any) -> Any:
    """A record as the values that JSON has, derived ones included; what is NaN becomes None."""
    return json.loads(_adapter(type(record)).dump_json(record))


def as_json(record: Any) -> bytes:
    """A record as indented JSON."""
    return (json.dumps(plain(record), indent=2) + "\n").encode()


def of_plain(kind: type[T], values: Any, *, what: str) -> T:
    """A record of what :func:`plain` has made of it.

    Raises:
        InvalidInputError: if it is no such record.
    """
    try:
        record: T = _adapter(kind).validate_python(values)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = plain_text(".".join(map(str, wrong["loc"])) or "it", 100)
        raise InvalidInputError(f"does not hold {what}: {where}: {plain_text(wrong['msg'])}") from None
    return record


def record_of(kind: type[T], content: str | bytes, *, what: str, schema_version: int | None = None) -> T:
    """A record of what :func:`as_json` has made of it.

    Args:
        kind: of record.
        content: JSON.
        what: it is, for the message.
        schema_version: of the structure, which the record holds under that name.

    Raises:
        InvalidInputError: if the content is no such record, or too large to be one.
    """
    limits.require_room(len(content), limits.RECORD, "")
    try:
        data = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidInputError(f"does not hold {what}: {plain_text(error)}") from None
    found = data.get("schema_version", schema_version) if isinstance(data, dict) else schema_version
    if found != schema_version:
        raise InvalidInputError(
            f"has schema version {plain_text(found, 20)}, this version of advkeras reads {schema_version}: make the "
            "results again"
        )
    return of_plain(kind, data, what=what)


def read(path: Any, name: str, kind: type[T], *, what: str, schema_version: int | None = None) -> T:
    """A record from a JSON file, or from the one of that name in a folder.

    Args:
        path: of the file or the folder, or a folder behind a URL.
        name: of the file in a folder.
        kind: of record.
        what: it is, for the message.
        schema_version: as for :func:`record_of`.

    Raises:
        InvalidInputError: if there is none, it is damaged, or larger than what is read.
    """
    if isinstance(path, (str, os.PathLike)):
        path = Path(path)
        path = path / name if path.is_dir() else path
    else:
        path = path / name
    try:
        content = limits.read_file(path, limits.RECORD)
        return record_of(kind, content, what=what, schema_version=schema_version)
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except InvalidInputError as error:
        raise InvalidInputError(f"{path} {error}") from None


def schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of records of a kind, as they are written."""
    made: dict[str, Any] = _adapter(kind).json_schema(mode="serialization")
    return made
