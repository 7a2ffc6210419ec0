"""What a served model says, as signatures and arrays; everything that it says is doubted.

All functions raise a :class:`ValueError` whose message says what was received instead.
"""

import base64
import math
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from pydantic import BaseModel, Field, ValidationError
from tensorflow.core.framework import types_pb2

from advkeras.errors import first_line
from advkeras.serving.signatures import UNKNOWN, Signature, TensorInfo, infos_of, tensor_info

# Kinds of NumPy's types that stand for numbers of each kind: JSON writes 1.0 as 1.
_KINDS = {"f": "fiu", "V": "fiu", "i": "iu", "u": "iu", "b": "b"}


class _Size(BaseModel):
    size: Annotated[int, Field(ge=-1, lt=2**63)]


class _Shape(BaseModel):
    dim: list[_Size] = []
    unknown_rank: bool = False


class _Tensor(BaseModel):
    name: str = ""
    dtype: str
    tensor_shape: _Shape = _Shape()

    def info(self) -> TensorInfo:
        number = dict(types_pb2.DataType.items()).get(self.dtype)
        shape = self.tensor_shape
        return tensor_info(self.name, number, None if shape.unknown_rank else [each.size for each in shape.dim])


class _Definition(BaseModel):
    inputs: dict[str, _Tensor] = {}
    outputs: dict[str, _Tensor] = {}


class _Definitions(BaseModel):
    signature_def: dict[str, _Definition]


class _Parts(BaseModel):
    signature_def: _Definitions


class _Metadata(BaseModel):
    metadata: _Parts


def signatures_of_json(answer: Any) -> dict[str, Signature]:
    """The signatures in the REST API's metadata."""
    try:
        found = _Metadata.model_validate(answer).metadata.signature_def.signature_def
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, wrong['loc'])) or 'the whole'}: {wrong['msg']}") from None
    return {
        name: Signature(
            {key: tensor.info() for key, tensor in entry.inputs.items()},
            {key: tensor.info() for key, tensor in entry.outputs.items()},
        )
        for name, entry in found.items()
    }


def signatures_of_proto(response: Any) -> dict[str, Signature]:
    """The signatures in the gRPC API's metadata."""
    from tensorflow_serving.apis import get_model_metadata_pb2

    found = get_model_metadata_pb2.SignatureDefMap()
    if "signature_def" not in response.metadata or not response.metadata["signature_def"].Unpack(found):
        raise ValueError("no signature_def")
    return {
        name: Signature(infos_of(definition.inputs), infos_of(definition.outputs))
        for name, definition in found.signature_def.items()
    }


def array_of_json(value: Any, info: TensorInfo) -> npt.NDArray[Any]:
    """A tensor in JSON; bytes objects in an array of objects are strings.

    Args:
        value: numbers in lists of lists.
        info: of what it should be.
    """
    if info.dtype == "object":
        array = _strings(value)
    else:
        try:
            found = np.array(value)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise ValueError(f"no tensor of numbers, but {_shown(value)}") from None
        kind = np.dtype(info.dtype).kind if info.dtype != UNKNOWN else ""
        if found.size and found.dtype.kind not in _KINDS.get(kind, ""):
            raise ValueError(f"no {info.dtype}, but {_shown(value)}")
        if kind in "iu" and found.size:
            limits = np.iinfo(info.dtype)
            if found.min() < limits.min or found.max() > limits.max:
                raise ValueError(f"no {info.dtype}, but {_shown(value)}")
        with np.errstate(over="ignore"):  # as a server's own float32 would be infinite
            array = found.astype(info.dtype)
    _require_shape(array.shape, info)
    return array


def array_of_proto(proto: Any, info: TensorInfo, *, largest: int) -> npt.NDArray[Any]:
    """A tensor as a protocol buffer; bytes objects in an array of objects are strings.

    Args:
        proto: a TensorProto.
        info: of what it should be.
        largest: bytes of the array, at most: a buffer of one number may stand for any number of copies of it.
    """
    sizes = tuple(dim.size for dim in proto.tensor_shape.dim)
    dtype = tensor_info("", proto.dtype, sizes).dtype
    if dtype != info.dtype or dtype == UNKNOWN:
        raise ValueError(f"no {info.dtype}, but {dtype}")
    if min(sizes, default=0) < 0:
        raise ValueError(f"a shape of {_shown(sizes)}")
    _require_shape(sizes, info)
    if math.prod(sizes) * np.dtype(dtype).itemsize > largest:
        raise ValueError(f"a shape of {_shown(sizes)}, which is more than {largest / 2**20:g} MiB")
    try:
        return np.asarray(tf.make_ndarray(proto))
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise ValueError(f"no whole tensor: {first_line(error)}") from None


def _require_shape(shape: tuple[int, ...], info: TensorInfo) -> None:
    known = info.shape
    fits = known is None or (
        len(shape) == len(known) and all(free in (None, size) for free, size in zip(known, shape, strict=True))
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in known or ())
        raise ValueError(f"a shape of {_shown(shape)} and not of ({wanted})")


def _strings(value: Any) -> npt.NDArray[Any]:
    try:
        array = np.array(_decoded(value), object)
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"no tensor of strings, but {_shown(value)}") from None
    if not all(isinstance(entry, bytes) for entry in array.ravel()):
        raise ValueError(f"no tensor of strings, but {_shown(value)}")
    return array


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(entry) for entry in value]
    if isinstance(value, Mapping):
        return base64.b64decode(value.get("b64", ()), validate=True)
    return value.encode() if isinstance(value, str) else value


def _shown(value: Any) -> str:
    return reprlib.repr(value)
