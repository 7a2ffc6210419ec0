"""Clients of a served model: TF Serving's REST and gRPC APIs, in NumPy.

A server may be a stranger's. So a client talks to the address that it was given and to no other, waits so long and
takes so much and no more, and believes no answer that is not what the server's own signatures say.
"""

import abc
import base64
import json
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy.typing as npt
import tensorflow as tf
from google.protobuf.message import DecodeError

from advkeras.errors import InvalidInputError, plain_text, require
from advkeras.parameters import require_count
from advkeras.serving.address import Address
from advkeras.serving.answers import array_of_json, array_of_proto, signatures_of_json, signatures_of_proto
from advkeras.serving.exchange import Exchange
from advkeras.serving.failures import RefusedError, ServingError, listed, said, too_late, too_much
from advkeras.serving.signatures import Signature

__all__ = ["Client", "GrpcClient", "RestClient", "ServingError", "connect", "is_loopback"]

Arrays = Mapping[str, npt.NDArray[Any]]

# Of a request, in seconds, and of an answer's body, in bytes.
TIMEOUT, LARGEST_ANSWER = 60.0, 64 * 2**20
# Metadata are short, and take many times their size when they are read.
_LARGEST_METADATA = 4 * 2**20
_LONGEST_TIMEOUT = 86_400.0
_TOO_LARGE = 413
_ANY_SIZE = -1


class Client(abc.ABC):
    """Calls a served model.

    Args:
        address: of the server.
        model: its name on the server.
        version: of the model; the server's choice by default.
        timeout: seconds from the beginning of a request to the end of its answer, at most.
        largest_answer: bytes of an answer, at most. What comes compressed is refused.

    Attributes:
        url: of the server.
        waited: seconds that were spent waiting for the server and the network.

    Raises:
        InvalidInputError: if a number makes no sense.
    """

    def __init__(
        self,
        address: Address,
        model: str,
        version: int | None = None,
        *,
        timeout: float = TIMEOUT,
        largest_answer: int = LARGEST_ANSWER,
    ) -> None:
        require(bool(model), "a served model has a name", model=model)
        require(version is None or 0 <= version < 2**63, "version must be a whole number from 0", version=version)
        require(0 < timeout <= _LONGEST_TIMEOUT, "timeout must be above 0 and at most a day", timeout=timeout)
        require_count(largest_answer=largest_answer)
        self.address = address
        self.url = plain_text(address.url)
        self.model = model
        self.version = version
        self.timeout = float(timeout)
        self.largest_answer = largest_answer
        self.waited = 0.0
        self._signatures: dict[str, Signature] | None = None

    def another(self) -> Self:
        """A client of the same model, with a connection of its own to the same machine."""
        made = type(self)(
            self.address, self.model, self.version, timeout=self.timeout, largest_answer=self.largest_answer
        )
        made._signatures = self._signatures
        return made

    def signatures(self) -> dict[str, Signature]:
        """The model's signatures, as the server describes them; it is asked once.

        Raises:
            ServingError: if the server cannot be reached or has no such model.
        """
        if self._signatures is None:
            try:
                self._signatures = self._ask_signatures()
            except ValueError as error:
                raise ServingError(
                    f"{self.url} answers with other metadata than TF Serving's: {said(str(error))}"
                ) from None
        return self._signatures

    def predict(self, inputs: Arrays, *, signature: str) -> dict[str, npt.NDArray[Any]]:
        """The answers of a signature by the names of its outputs; bytes objects in arrays of objects are strings.

        Outputs have the types and the shapes that the server's signature says; whether they have a row for each image
        is for the caller to see.

        Raises:
            ServingError: if the server cannot be reached, answers with an error, or with something else than it says.
        """
        found = self.signatures()
        if signature not in found:
            raise ServingError(
                f"{self.url}: model {plain_text(self.model)} has no signature {plain_text(signature)}: it has "
                f"{listed(found)}"
            )
        return self._ask(inputs, signature, found[signature])

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _ask_signatures(self) -> dict[str, Signature]:
        """Asks for the signatures; a ValueError says what was received instead."""

    @abc.abstractmethod
    def _ask(self, inputs: Arrays, name: str, signature: Signature) -> dict[str, npt.NDArray[Any]]:
        """Asks a signature."""

    def _timed(self, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return call()
        finally:
            self.waited += time.perf_counter() - start

    def _outputs(
        self, outputs: Any, name: str, signature: Signature, read: Callable[[Any, Any], npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs of a signature, each read."""
        missing = set(signature.outputs) - set(outputs)
        if missing:
            raise ServingError(f"{self.url} answers {plain_text(name)} without {listed(missing)}")
        arrays = {}
        for key, info in signature.outputs.items():
            try:
                arrays[key] = read(outputs[key], info)
            except ValueError as error:
                raise ServingError(
                    f"{self.url} answers {plain_text(name)} with other {plain_text(key)} than its metadata say: "
                    f"{said(str(error))}"
                ) from None
        return arrays


class RestClient(Client):
    """A client of the REST API."""

    def __init__(self, address: Address, model: str, version: int | None = None, **limits: Any) -> None:
        super().__init__(address, model, version, **limits)
        self._exchange = Exchange(address, timeout=self.timeout, largest=self.largest_answer)
        place = f"{quote(address.path, safe='/%')}/v1/models/{quote(model, safe='')}"
        self._place = place if version is None else f"{place}/versions/{version}"

    def close(self) -> None:
        """Ends the connection."""
        self._exchange.close()

    def _ask_signatures(self) -> dict[str, Signature]:
        return signatures_of_json(self._call("GET", "/metadata", largest=_LARGEST_METADATA))

    def _ask(self, inputs: Arrays, name: str, signature: Signature) -> dict[str, npt.NDArray[Any]]:
        """By columns, so that inputs and outputs need not have one row an image."""
        body = {"signature_name": name, "inputs": {key: _to_json(value) for key, value in inputs.items()}}
        outputs = self._call("POST", ":predict", body).get("outputs")
        known = signature.outputs
        # The only output of a signature comes without its name.
        if len(known) == 1 and not (isinstance(outputs, dict) and set(outputs) == set(known)):
            outputs = {next(iter(known)): outputs}
        if not isinstance(outputs, dict):
            raise ServingError(f"{self.url} answers {plain_text(name)} without outputs by their names: {said(outputs)}")
        return self._outputs(outputs, name, signature, array_of_json)

    def _call(self, method: str, suffix: str, body: Any = None, *, largest: int | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        answer = self._timed(lambda: self._exchange.ask(method, self._place + suffix, content, largest=largest))
        if 300 <= answer.status < 400:
            raise ServingError(
                f"{self.url} answers {answer.status} and sends us to {said(answer.location)}: nobody goes there. Give "
                "that address if it is the server's"
            )
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if not 200 <= answer.status < 300:
            why = found["error"] if isinstance(found, dict) and "error" in found else answer.reason
            raise RefusedError(
                f"{self.url} answers {answer.status} for model {plain_text(self.model)}: {said(why)}",
                about_size=answer.status == _TOO_LARGE,
            )
        if not isinstance(found, dict):
            raise ServingError(
                f"{self.url} answers with something else than a JSON object: is it TF Serving's REST port?"
            )
        if "error" in found:
            raise RefusedError(f"{self.url} answers {plain_text(self.model)} with an error: {said(found['error'])}")
        return found


class GrpcClient(Client):
    """A client of the gRPC API."""

    def __init__(self, address: Address, model: str, version: int | None = None, **limits: Any) -> None:
        super().__init__(address, model, version, **limits)
        self._channel: Any = None

    def close(self) -> None:
        """Ends the channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _ask_signatures(self) -> dict[str, Signature]:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        kind = get_model_metadata_pb2.GetModelMetadataResponse
        response = self._call("GetModelMetadata", request, kind, largest=_LARGEST_METADATA)
        try:
            return signatures_of_proto(response)
        except DecodeError:
            raise ValueError("a signature_def that cannot be read") from None

    def _ask(self, inputs: Arrays, name: str, signature: Signature) -> dict[str, npt.NDArray[Any]]:
        """As tensors."""
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = name
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        response = self._call("Predict", request, predict_pb2.PredictResponse)
        return self._outputs(
            response.outputs,
            name,
            signature,
            lambda value, info: array_of_proto(value, info, largest=self.largest_answer),
        )

    def _address(self, model_spec: Any) -> None:
        model_spec.name = self.model
        if self.version is not None:
            model_spec.version.value = self.version

    def _call(self, method: str, request: Any, kind: Any, *, largest: int | None = None) -> Any:
        import grpc

        if self._channel is None:
            self._channel = self._opened()
        # Bytes, since gRPC itself would print a traceback where it cannot read an answer.
        call = self._channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        sent = request.SerializeToString()
        try:
            received = self._timed(lambda: call(sent, timeout=self.timeout))
        except grpc.RpcError as error:
            raise self._failure(error) from None
        if received is None:
            raise ServingError(f"{self.url} answers without a message: is it TF Serving's gRPC port?")
        if largest is not None and len(received) > largest:
            raise too_much(self.url, largest)
        try:
            return kind.FromString(received)
        except DecodeError:
            raise ServingError(
                f"{self.url} answers with something else than a {kind.__name__}: is it TF Serving's gRPC port?"
            ) from None

    def _opened(self) -> Any:
        import grpc

        try:
            target = self.address.grpc_target(self.timeout)
        except OSError as error:
            raise ServingError(f"cannot reach {self.url}: {error.strerror or error}") from None
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        options = [
            ("grpc.default_authority", f"{host}:{self.address.port}"),
            ("grpc.max_send_message_length", _ANY_SIZE),
            ("grpc.max_receive_message_length", self.largest_answer),
            # What is compressed would be unpacked before its size is looked at.
            ("grpc.compression_enabled_algorithms_bitset", 1 << grpc.Compression.NoCompression.value),
            ("grpc.per_message_decompression", 0),
            # To no other address, whatever the environment or the server says, and once.
            ("grpc.enable_http_proxy", 0),
            ("grpc.address_http_proxy_enabled_addresses", ""),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.enable_retries", 0),
            # A connection of its own.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        return grpc.insecure_channel(target, options=options)

    def _failure(self, error: Any) -> ServingError:
        import grpc

        code, details = error.code(), error.details() or ""
        if code == grpc.StatusCode.UNAVAILABLE:
            return ServingError(f"cannot reach {self.url}: {said(details)}")
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return too_late(self.url, self.timeout)
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details and "eceived" in details:
            return too_much(self.url, self.largest_answer)
        return RefusedError(
            f"{self.url} answers {code.name} for model {plain_text(self.model)}: {said(details)}",
            about_size=code == grpc.StatusCode.RESOURCE_EXHAUSTED,
        )


def connect(
    url: str,
    model: str,
    *,
    version: int | None = None,
    timeout: float = TIMEOUT,
    largest_answer: int = LARGEST_ANSWER,
) -> Client:
    """A client for a server's address, whose name is looked up now and never again.

    Args:
        url: ``http://HOST:PORT``, ``https://HOST:PORT`` or ``grpc://HOST:PORT``.
        model: its name on the server.
        version: of the model; the server's choice by default.
        timeout: seconds from the beginning of a request to the end of its answer, at most.
        largest_answer: bytes of an answer, at most. What comes compressed is refused.

    Raises:
        InvalidInputError: if the address is of another kind, a number makes no sense, or the package for gRPC is not
            installed.
        ServingError: if there is no such host.
    """
    address = Address.of(url)
    grpc = address.scheme == "grpc"
    if grpc and find_spec("tensorflow_serving") is None:
        raise InvalidInputError(
            f"{plain_text(url)} needs the package tensorflow_serving: pip install 'advkeras[serving]'"
        )
    kind = GrpcClient if grpc else RestClient
    return kind(address, model, version, timeout=timeout, largest_answer=largest_answer)


def is_loopback(url: str) -> bool:
    """Whether an address leads to this machine alone.

    Raises:
        InvalidInputError: if it is no address of a served model.
    """
    try:
        return Address.of(url).is_loopback
    except ServingError:
        return False


def _to_json(value: npt.NDArray[Any]) -> Any:
    if value.dtype.kind == "O":
        return [{"b64": base64.b64encode(entry).decode()} for entry in value.tolist()]
    return value.tolist()
