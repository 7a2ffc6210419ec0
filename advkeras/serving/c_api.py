"""A SavedModel run through TensorFlow's C API, as a C++ server runs it: no TensorFlow in Python, no XLA.

The library of the TensorFlow wheel has the same loader of SavedModels and the same session as TF Serving, and XLA can
be switched off in it, as it is in stock TF Serving. Run as a program, ``python -m advkeras.serving.c_api FOLDER``, this
module loads a SavedModel in a process of its own and answers requests on its standard input; :class:`CApiProcess` is
the other end.
"""

import ctypes
import importlib.util
import io
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from advkeras.errors import AdvkerasError, InvalidInputError, without_internals

Arrays = Mapping[str, npt.NDArray[Any]]

_STRING, _STRING_SIZE = 7, 24
_DTYPES = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    6: np.int8,
    9: np.int64,
    10: np.bool_,
    19: np.float16,
}
_NUMBERS = {np.dtype(dtype): number for number, dtype in _DTYPES.items()}
READABLE = frozenset(dtype.name for dtype in _NUMBERS)
"""Names of the types of what can be fetched."""
_ERROR = "error"
# tensorflow::DisableXlaCompilation(), which holds for the whole process.
_DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class CApiError(AdvkerasError):
    """What TensorFlow said when it failed."""


class CApiSession:
    """A SavedModel, loaded by the C API.

    Args:
        folder: of a version.
        xla: leave XLA on, which stock TF Serving does not.

    Raises:
        CApiError: if TensorFlow cannot load it.
    """

    def __init__(self, folder: str | os.PathLike[str], *, xla: bool = False) -> None:
        self._library = _library()
        if not xla:
            getattr(self._library, _DISABLE_XLA)()
        self._graph = self._library.TF_NewGraph()
        options = self._library.TF_NewSessionOptions()
        tags = (ctypes.c_char_p * 1)(b"serve")
        with self._checked() as status:
            self._session = self._library.TF_LoadSessionFromSavedModel(
                options, None, os.fsencode(folder), tags, 1, self._graph, None, status
            )
        self._library.TF_DeleteSessionOptions(options)

    def run(self, feeds: Arrays, fetches: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Runs the graph; from several threads at once, if need be.

        Args:
            feeds: arrays by the names of tensors; arrays of bytes objects for strings.
            fetches: names of tensors.

        Raises:
            CApiError: if TensorFlow fails.
        """
        inputs: Any = (_Output * len(feeds))(*(self._output(name) for name in feeds))
        tensors = [self._tensor(np.asarray(array)) for array in feeds.values()]
        values = (ctypes.c_void_p * len(tensors))(*tensors)
        outputs = (_Output * len(fetches))(*(self._output(name) for name in fetches))
        results = (ctypes.c_void_p * len(fetches))()
        try:
            with self._checked() as status:
                self._library.TF_SessionRun(
                    *(self._session, None, inputs, values, len(tensors), outputs, results, len(fetches)),
                    *(None, 0, None, status),
                )
        finally:
            for tensor in tensors:
                self._library.TF_DeleteTensor(tensor)
        arrays = {name: self._array(tensor) for name, tensor in zip(fetches, results, strict=True)}
        for result in results:
            self._library.TF_DeleteTensor(result)
        return arrays

    def _output(self, name: str) -> _Output:
        operation, _, index = name.partition(":")
        found = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise CApiError(f"the graph has no tensor {name}")
        return _Output(found, int(index or 0))

    def _tensor(self, array: npt.NDArray[Any]) -> int:
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        if array.dtype.kind in "OS":
            tensor = self._library.TF_AllocateTensor(_STRING, shape, array.ndim, _STRING_SIZE * array.size)
            start = self._library.TF_TensorData(tensor)
            for place, value in enumerate(array.ravel().tolist()):
                self._library.TF_StringInit(start + place * _STRING_SIZE)
                self._library.TF_StringCopy(start + place * _STRING_SIZE, value, len(value))
            return int(tensor)
        if array.dtype not in _NUMBERS:
            raise CApiError(f"the C API is not given arrays of {array.dtype} here")
        array = np.ascontiguousarray(array)
        tensor = self._library.TF_AllocateTensor(_NUMBERS[array.dtype], shape, array.ndim, array.nbytes)
        ctypes.memmove(self._library.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
        return int(tensor)

    def _array(self, tensor: int) -> npt.NDArray[Any]:
        number = self._library.TF_TensorType(tensor)
        if number not in _DTYPES:
            raise CApiError(f"no array is made of a tensor of TensorFlow's type {number} here")
        dtype = _DTYPES[number]
        shape = [self._library.TF_Dim(tensor, axis) for axis in range(self._library.TF_NumDims(tensor))]
        size = self._library.TF_TensorByteSize(tensor)
        content = ctypes.string_at(self._library.TF_TensorData(tensor), size)
        return np.frombuffer(content, dtype).reshape(shape)

    @contextmanager
    def _checked(self) -> Iterator[int]:
        """A status to be passed to a call, and an error if it is not good afterwards."""
        status = self._library.TF_NewStatus()
        try:
            yield status
            if self._library.TF_GetCode(status):
                message = without_internals(self._library.TF_Message(status).decode(errors="replace"))
                raise CApiError(message or "TensorFlow failed without a word")
        finally:
            self._library.TF_DeleteStatus(status)


class CApiProcess:
    """A SavedModel in a process that imports no TensorFlow; to be used as a context.

    Args:
        folder: of a version.

    Raises:
        InvalidInputError: if the process cannot load the model.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        command = [sys.executable, "-m", "advkeras.serving.c_api", os.fspath(folder)]
        # A checkout that is not installed is found by the child as well.
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        self._process = subprocess.Popen(  # noqa: S603 - this package, by this interpreter
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            self._answer()
        except CApiError as error:
            self.close()
            raise InvalidInputError(f"TensorFlow's C API does not load {folder}: {error}") from None

    def run(self, feeds: Arrays, fetches: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """As :meth:`CApiSession.run`."""
        request = {f"feed {name}": array for name, array in feeds.items()}
        # A process that has ended has no answer, which says so.
        with suppress(BrokenPipeError):
            _write(self._stdin, {**request, "fetches": np.array(fetches)})
        return self._answer()

    def memory(self) -> tuple[int, int]:
        """Resident memory of the process now and at its peak, in bytes."""
        now, peak = self.run({}, [])["memory"]
        return int(now), int(peak)

    def close(self) -> None:
        """Ends the process."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._process.wait()
        self._stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _answer(self) -> dict[str, npt.NDArray[Any]]:
        answer = _read(self._stdout)
        if answer is None:
            raise CApiError(f"the process ended with exit code {self._process.wait()}")
        if _ERROR in answer:
            raise CApiError(str(answer[_ERROR]))
        return answer


def _library() -> Any:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise CApiError("TensorFlow is not installed")
    folder = Path(spec.origin).parent
    names = [*folder.glob("libtensorflow_cc.so*"), *folder.glob("libtensorflow_cc.*.dylib")]
    if not names:
        raise CApiError(f"{folder} holds no libtensorflow_cc")
    library: Any = ctypes.CDLL(str(names[0]), mode=os.RTLD_LOCAL | os.RTLD_NOW)
    pointers = (
        *("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel"),
        *("TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData"),
    )
    for name in pointers:
        getattr(library, name).restype = ctypes.c_void_p
    library.TF_Message.restype = ctypes.c_char_p
    library.TF_Dim.restype = ctypes.c_int64
    library.TF_TensorByteSize.restype = ctypes.c_size_t
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    arguments: dict[str, list[Any]] = {
        "TF_DeleteSessionOptions": [pointer],
        "TF_LoadSessionFromSavedModel": [pointer, pointer, ctypes.c_char_p, pointer, ctypes.c_int, *[pointer] * 3],
        "TF_GraphOperationByName": [pointer, ctypes.c_char_p],
        "TF_AllocateTensor": [ctypes.c_int, pointer, ctypes.c_int, size],
        "TF_TensorData": [pointer],
        "TF_TensorType": [pointer],
        "TF_NumDims": [pointer],
        "TF_Dim": [pointer, ctypes.c_int],
        "TF_TensorByteSize": [pointer],
        "TF_DeleteTensor": [pointer],
        "TF_StringInit": [pointer],
        "TF_StringCopy": [pointer, ctypes.c_char_p, size],
        "TF_DeleteStatus": [pointer],
        "TF_GetCode": [pointer],
        "TF_Message": [pointer],
        "TF_SessionRun": [
            *[pointer] * 4,
            ctypes.c_int,
            *[pointer] * 2,
            ctypes.c_int,
            pointer,
            ctypes.c_int,
            *[pointer] * 2,
        ],
    }
    for name, types in arguments.items():
        getattr(library, name).argtypes = types
    return library


def _write(stream: IO[bytes], arrays: Arrays) -> None:
    content = io.BytesIO()
    np.savez(content, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    stream.write(struct.pack("<q", content.tell()) + content.getvalue())
    stream.flush()


def _read(stream: IO[bytes]) -> dict[str, npt.NDArray[Any]] | None:
    """The next arrays of a stream; None at its end."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    # Strings travel between two processes of ours as pickled bytes objects.
    with np.load(io.BytesIO(stream.read(struct.unpack("<q", head)[0])), allow_pickle=True) as arrays:
        return dict(arrays)


def _memory() -> npt.NDArray[np.int64]:
    """Resident memory now and at its peak, in bytes; zeros where the system has no /proc.

    Not getrusage's peak, which a process inherits from the one that has started it.
    """
    status = Path("/proc/self/status")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.is_file() else {}
    return np.array([1024 * int(lines.get(key, "0 kB").split()[0]) for key in ("VmRSS", "VmHWM")])


def _serve(folder: str) -> None:
    """Loads a SavedModel and answers requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever TensorFlow prints
    try:
        session = CApiSession(folder)
    except CApiError as error:
        _write(answers, {_ERROR: np.array(str(error))})
        return
    _write(answers, {})
    while (request := _read(sys.stdin.buffer)) is not None:
        fetches = request.pop("fetches").tolist()
        feeds = {name.removeprefix("feed "): array for name, array in request.items()}
        try:
            _write(answers, session.run(feeds, fetches) if fetches else {"memory": _memory()})
        except CApiError as error:
            _write(answers, {_ERROR: np.array(str(error))})


if __name__ == "__main__":
    assert "tensorflow" not in sys.modules
    _serve(sys.argv[1])
