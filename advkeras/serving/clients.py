"""Clients of a served model: TF Serving's REST and gRPC APIs, in NumPy."""

import abc
import base64
import ipaddress
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from advkeras.errors import AdvkerasError, InvalidInputError, first_line
from advkeras.serving.signatures import Signature, TensorInfo, infos_of, tensor_info

Arrays = Mapping[str, npt.NDArray[Any]]

_TIMEOUT = 60.0
# Messages of gRPC are at most 4 MB unless asked otherwise; a batch of images is more.
_LARGEST_MESSAGE = 256 * 2**20


class ServingError(AdvkerasError):
    """The served model does not answer, or not as it should."""


class Client(abc.ABC):
    """Calls a served model.

    Args:
        url: ``http://HOST:PORT`` or ``https://HOST:PORT`` (REST), or ``grpc://HOST:PORT``.
        model: its name on the server.
        version: of the model; the server's choice by default.
    """

    def __init__(self, url: str, model: str, version: int | None = None) -> None:
        self.url = url
        self.model = model
        self.version = version

    @abc.abstractmethod
    def signatures(self) -> dict[str, Signature]:
        """The model's signatures, as the server describes them.

        Raises:
            ServingError: if the server cannot be reached or has no such model.
        """

    @abc.abstractmethod
    def predict(self, inputs: Arrays, *, signature: str) -> dict[str, npt.NDArray[Any]]:
        """The answers of a signature by the names of its outputs; bytes objects in arrays of objects are strings.

        Raises:
            ServingError: if the server cannot be reached or answers with an error.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the connection."""


class RestClient(Client):
    """A client of the REST API."""

    def __init__(self, url: str, model: str, version: int | None = None) -> None:
        super().__init__(url, model, version)
        import requests

        self._session = requests.Session()
        # An answer from the server itself and not from a proxy of the environment.
        self._session.trust_env = False
        place = f"{url.rstrip('/')}/v1/models/{model}"
        self._place = place if version is None else f"{place}/versions/{version}"
        self._outputs: dict[str, Signature] | None = None

    def signatures(self) -> dict[str, Signature]:
        """As the server's metadata say."""
        answer = self._call("GET", "/metadata")
        try:
            found = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: Signature(_infos_of_json(entry.get("inputs", {})), _infos_of_json(entry.get("outputs", {})))
                for name, entry in found.items()
            }
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ServingError(f"{self.url} answers with other metadata than TF Serving: {error!r}") from None

    def predict(self, inputs: Arrays, *, signature: str) -> dict[str, npt.NDArray[Any]]:
        """By columns, so that inputs and outputs need not have one row an image."""
        body = {"signature_name": signature, "inputs": {key: _to_json(value) for key, value in inputs.items()}}
        answer = self._call("POST", ":predict", body)
        if self._outputs is None:
            self._outputs = self.signatures()
        known = self._outputs[signature].outputs
        outputs = answer.get("outputs")
        # The only output of a signature comes without its name.
        if len(known) == 1 and not (isinstance(outputs, dict) and set(outputs) == set(known)):
            outputs = {next(iter(known)): outputs}
        if not isinstance(outputs, dict) or not set(outputs) >= set(known):
            raise ServingError(f"{self.url} answers {signature} without {', '.join(known)}")
        return {key: np.asarray(outputs[key], info.dtype) for key, info in known.items()}

    def close(self) -> None:
        """Ends the session."""
        self._session.close()

    def _call(self, method: str, suffix: str, body: Any = None) -> dict[str, Any]:
        import requests

        try:
            response = self._session.request(method, self._place + suffix, json=body, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise ServingError(f"cannot reach {self.url}: {_reason(error)}") from None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not response.ok:
            said = answer.get("error") if isinstance(answer, dict) else response.reason
            raise ServingError(f"{self.url} answers {response.status_code} for model {self.model}: {said}")
        if not isinstance(answer, dict):
            raise ServingError(f"{self.url} answers with something else than JSON: is it TF Serving's REST port?")
        return answer


class GrpcClient(Client):
    """A client of the gRPC API."""

    def __init__(self, url: str, model: str, version: int | None = None) -> None:
        super().__init__(url, model, version)
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        limits = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
        options = [*((limit, _LARGEST_MESSAGE) for limit in limits), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(urlsplit(url).netloc, options=options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def signatures(self) -> dict[str, Signature]:
        """As the server's metadata say."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        response = self._call(self._stub.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return {
            name: Signature(infos_of(definition.inputs), infos_of(definition.outputs))
            for name, definition in found.signature_def.items()
        }

    def predict(self, inputs: Arrays, *, signature: str) -> dict[str, npt.NDArray[Any]]:
        """As tensors."""
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._stub.Predict, request)
        return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}

    def close(self) -> None:
        """Ends the channel."""
        self._channel.close()

    def _address(self, model_spec: Any) -> None:
        model_spec.name = self.model
        if self.version is not None:
            model_spec.version.value = self.version

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            code, said = error.code(), first_line(Exception(error.details()))
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ServingError(f"cannot reach {self.url}: {said}") from None
            raise ServingError(f"{self.url} answers {code.name} for model {self.model}: {said}") from None


def connect(url: str, model: str, *, version: int | None = None) -> Client:
    """A client for a server's address.

    Args:
        url: ``http://HOST:PORT``, ``https://HOST:PORT`` or ``grpc://HOST:PORT``.
        model: its name on the server.
        version: of the model; the server's choice by default.

    Raises:
        InvalidInputError: if the address is of another kind, or the packages for its API are not installed.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "grpc") or not parts.hostname:
        raise InvalidInputError(
            f"a served model's address is http://HOST:PORT (REST) or grpc://HOST:PORT. Received: {url}"
        )
    package = "tensorflow_serving" if parts.scheme == "grpc" else "requests"
    if find_spec(package) is None:
        raise InvalidInputError(f"{url} needs the package {package}: pip install 'advkeras[serving]'")
    return (GrpcClient if parts.scheme == "grpc" else RestClient)(url, model, version)


def is_loopback(url: str) -> bool:
    """Whether an address leads to this machine alone."""
    host = urlsplit(url).hostname or ""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def _to_json(value: npt.NDArray[Any]) -> Any:
    if value.dtype.kind == "O":
        return [{"b64": base64.b64encode(entry).decode()} for entry in value.tolist()]
    return value.tolist()


def _infos_of_json(tensors: Mapping[str, Any]) -> dict[str, TensorInfo]:
    infos = {}
    for key, info in tensors.items():
        sizes = [int(dim["size"]) for dim in info.get("tensor_shape", {}).get("dim", [])]
        infos[key] = tensor_info(info.get("name", ""), types_pb2.DataType.Value(info["dtype"]), sizes)
    return infos


def _reason(error: Exception) -> str:
    """What is wrong with a connection, without the names of the layers that it went through."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return getattr(cause, "strerror", None) or first_line(cause)
