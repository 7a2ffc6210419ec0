"""A stand-in for TF Serving, for tests alone: its gRPC and REST APIs over real sockets, SavedModels run by the C API.

    python -m tests.serving.standin NAME=FOLDER[@IMAGES] [NAME=FOLDER ...]

FOLDER lies above numbered versions; a request may have so many images at most. Prints the two ports, gRPC first, and
serves until its standard input ends.
"""

import base64
import json
import re
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import any_pb2, json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from advkeras.models import layout
from advkeras.serving.c_api import CApiError, CApiSession
from advkeras.serving.signatures import signatures_of
from advkeras.serving.verify import Server

LIMIT = 256 * 2**20
ROUTE = re.compile(r"^/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+))?(?P<what>:predict|/metadata|)$")


class NotFoundError(Exception):
    """There is no such model, version or signature."""


class RefusedError(Exception):
    """The request does not fit the signature, or the graph fails."""


class Version:
    """A loaded version of a model."""

    def __init__(self, folder: Path, most: int):
        self.most = most
        self.number = int(folder.name)
        self.signatures = signatures_of(folder)
        self.call = Server(CApiSession(folder).run, self.signatures)
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
        self.definitions = {name: saved.meta_graphs[0].signature_def[name] for name in self.signatures}

    def predict(self, name, inputs):
        """Answers of a signature."""
        if name not in self.signatures:
            raise RefusedError(f'Serving signature key "{name}" not found.')
        known = self.signatures[name].inputs
        if set(inputs) != set(known):
            raise RefusedError(f"input must be {sorted(known)}. Received: {sorted(inputs)}")
        images = max(len(value) for value in inputs.values())
        if images > self.most:
            raise RefusedError(f"Task size {images} is larger than maximum input batch size {self.most}")
        try:
            return self.call(name, inputs)
        except CApiError as error:
            raise RefusedError(str(error)) from None


class Models:
    """The highest version of each model, and the others on request."""

    def __init__(self, folders):
        self.loaded = {
            name: {
                int(folder.name): Version(folder, int(most or LIMIT))
                for parent, _, most in (place.partition("@"),)
                for folder in layout.versions(Path(parent))
            }
            for name, place in folders.items()
        }

    def find(self, name, number=None):
        """A version of a model."""
        versions = self.loaded.get(name)
        if not versions or (number is not None and number not in versions):
            raise NotFoundError(f"Servable not found for request: {'Specific' if number else 'Latest'}({name})")
        return versions[max(versions) if number is None else number]


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The gRPC API."""

    def __init__(self, models):
        self.models = models

    def Predict(self, request, context):  # noqa: N802
        """Inputs to outputs."""
        version = self._version(request.model_spec, context)
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            answers = version.predict(request.model_spec.signature_name or "serving_default", inputs)
        except RefusedError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        for key, value in answers.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        """The signatures."""
        version = self._version(request.model_spec, context)
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in version.definitions.items():
            found.signature_def[name].CopyFrom(definition)
        packed = any_pb2.Any()
        packed.Pack(found)
        return get_model_metadata_pb2.GetModelMetadataResponse(metadata={"signature_def": packed})

    def _version(self, spec, context):
        try:
            return self.models.find(spec.name, spec.version.value if spec.HasField("version") else None)
        except NotFoundError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))


class Handler(BaseHTTPRequestHandler):
    """The REST API: status, metadata and predictions by columns or rows."""

    protocol_version = "HTTP/1.1"
    models: Models

    def do_GET(self):
        """Status or metadata."""
        self._answer(self._get)

    def do_POST(self):
        """A prediction."""
        self._answer(self._post)

    def log_message(self, *_):
        """Nothing."""

    def _answer(self, make):
        # A body that is left unread would become the next request of the connection.
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, answer = 200, make(ROUTE.match(self.path), body)
        except NotFoundError as error:
            status, answer = 404, {"error": str(error)}
        except (RefusedError, ValueError, KeyError) as error:
            status, answer = 400, {"error": str(error)}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _version(self, route):
        if route is None:
            raise NotFoundError(f"Malformed request: {self.command} {self.path}")
        return self.models.find(route["name"], int(route["version"]) if route["version"] else None)

    def _get(self, route, _):
        version = self._version(route)
        if route["what"] != "/metadata":
            return {"model_version_status": [{"version": str(version.number), "state": "AVAILABLE"}]}
        definitions = {
            name: json_format.MessageToDict(
                definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for name, definition in version.definitions.items()
        }
        return {
            "model_spec": {"name": route["name"], "version": str(version.number)},
            "metadata": {"signature_def": {"signature_def": definitions}},
        }

    def _post(self, route, body):
        version, request = self._version(route), json.loads(body)
        name = request.get("signature_name", "serving_default")
        known = version.signatures[name].inputs if name in version.signatures else {}
        by_rows = "instances" in request
        columns = _columns(request["instances"], known) if by_rows else request["inputs"]
        if not isinstance(columns, dict):
            columns = {next(iter(known), ""): columns}
        inputs = {
            key: np.array(_decode(value), object if known[key].dtype == "object" else known[key].dtype)
            for key, value in columns.items()
            if key in known
        }
        answers = {key: value.tolist() for key, value in version.predict(name, inputs).items()}
        if by_rows:
            keys = list(answers)
            rows = [dict(zip(keys, row, strict=True)) for row in zip(*answers.values(), strict=True)]
            return {"predictions": rows if len(keys) > 1 else [row[keys[0]] for row in rows]}
        return {"outputs": answers if len(answers) > 1 else next(iter(answers.values()))}


def _columns(instances, known):
    if isinstance(instances[0], dict) and "b64" not in instances[0]:
        return {key: [row[key] for row in instances] for key in instances[0]}
    return {next(iter(known), ""): instances}


def _decode(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [_decode(entry) for entry in value] if isinstance(value, list) else value


def main(arguments):
    """Serves until the standard input ends."""
    models = Models(dict(argument.split("=", 1) for argument in arguments))
    options = [("grpc.max_send_message_length", LIMIT), ("grpc.max_receive_message_length", LIMIT)]
    server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(models), server)
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    handler = type("BoundHandler", (Handler,), {"models": models})
    rest = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    print(grpc_port, rest.server_address[1], flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main(sys.argv[1:])
