"""Servers that mean no good, for tests alone: HTTP and HTTP/2 by plain sockets, so that they can say anything.

Each answers on a port of its own, and serves one image classifier that answers as ``mnist-natural`` would be asked.
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

SHAPE, CLASSES = (28, 28, 1), 10
# What is written to a client that does not listen any more.
_GONE = (OSError, ValueError)

Say = Callable[[socket.socket, int], None]


def tensor(shape, dtype="DT_FLOAT"):
    return {"dtype": dtype, "name": "x:0", "tensor_shape": {"dim": [{"size": str(size)} for size in shape]}}


def metadata(inputs=None, outputs=None):
    """Metadata of the REST API."""
    definition = {
        "inputs": inputs or {"images": tensor((-1, *SHAPE))},
        "outputs": outputs or {"logits": tensor((-1, CLASSES))},
        "method_name": "tensorflow/serving/predict",
    }
    return {"metadata": {"signature_def": {"signature_def": {"serving_default": definition}}}}


def http(body, *, status="200 OK", head=(), length=None):
    """An answer in HTTP, whole."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(content) if length is None else length}", *head)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def raw(content):
    """Says so much, and ends the connection."""
    return lambda line, images: line.sendall(content)


def answer(body, **how):
    """Says it in whole HTTP."""
    return raw(http(body, **how))


def outputs(make):
    """Answers with what is made of the number of images."""
    return lambda line, images: line.sendall(http({"outputs": make(images)}))


def drip(*parts, pause=0.05):
    """Says one part after the other, the last of them for ever."""

    def say(line, images):
        for part in parts[:-1]:
            line.sendall(part)
        while True:
            line.sendall(parts[-1])
            time.sleep(pause)

    return say


def silence(line, images):
    """Says nothing, and holds the line."""
    with suppress(*_GONE):
        line.settimeout(30)
        while line.recv(65536):
            pass


def rows(images):
    """Logits that are in order."""
    return [[float(column == row % CLASSES) for column in range(CLASSES)] for row in range(images)]


class Server:
    """Listens, and says to each request what it is told to.

    Args:
        say: at a request for a prediction.
        describe: at a request for metadata.
    """

    def __init__(self, say: Say, describe: Say) -> None:
        self.say, self.describe = say, describe
        self.asked = 0
        self.sizes: list[int] = []
        self.last: list = []
        self._lines: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self):
        """Ends all connections."""
        self._listening.close()
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def serve(self, line):
        """Answers what comes over a connection."""
        raise NotImplementedError

    def _listen(self):
        with suppress(OSError):
            while True:
                line, _ = self._listening.accept()
                self._lines.append(line)
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line):
        with line, suppress(*_GONE):
            self.serve(line)


class BluntServer(Server):
    """Says what it has to say to whatever comes first."""

    def serve(self, line):
        """Listens to a few bytes."""
        line.recv(100)
        self.asked += 1
        self.say(line, 0)


class RestServer(Server):
    """The REST API, with a connection for each request."""

    def serve(self, line):
        """Answers one request."""
        with line.makefile("rb") as file:
            request = file.readline()
            head = dict(entry.split(b":", 1) for entry in iter(file.readline, b"\r\n") if b":" in entry)
            body = file.read(int(head.get(b"Content-Length", 0)))
        self.asked += 1
        if b"/metadata" in request:
            self.describe(line, 0)
        elif request:
            (self.last,) = json.loads(body)["inputs"].values()
            images = len(self.last)
            self.sizes.append(images)
            self.say(line, images)


class GrpcServer(Server):
    """The gRPC API: HTTP/2 in frames that are written by hand."""

    def serve(self, line):
        """Answers each stream."""
        file = line.makefile("rb")
        file.read(24)  # the client's preface
        line.sendall(frame(4, 0, 0))
        bodies: dict[int, bytes] = {}
        while head := file.read(9):
            size, kind, flags, stream = (
                int.from_bytes(head[:3], "big"),
                head[3],
                head[4],
                int.from_bytes(head[5:], "big"),
            )
            content = file.read(size)
            if kind == 4 and not flags & 1:
                line.sendall(frame(4, 1, 0))
            if kind == 6 and not flags & 1:
                line.sendall(frame(6, 1, 0, content))
            if kind == 0:
                bodies[stream] = bodies.get(stream, b"") + content
                line.sendall(frame(8, 0, 0, struct.pack(">I", max(1, size))))
                if flags & 1:
                    self.asked += 1
                    (self.describe if b"signature_def" in bodies[stream] else self.say)(line, stream)


def frame(kind, flags, stream, content=b""):
    """A frame of HTTP/2."""
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + content


def header(name, value):
    """A header that stands in no table."""
    return b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def beginning(stream, *extra):
    """The head of an answer in gRPC: status 200."""
    fields = b"\x88" + header("content-type", "application/grpc") + b"".join(header(*each) for each in extra)
    return frame(1, 4, stream, fields)


def message(stream, content, *, packed=0, length=None):
    """A message of gRPC, in frames of the size that every client takes."""
    whole = struct.pack(">BI", packed, len(content) if length is None else length) + content
    return b"".join(frame(0, 0, stream, whole[i : i + 16384]) for i in range(0, len(whole), 16384))


def ending(stream, status="0", said=""):
    """The trailers of an answer in gRPC."""
    fields = header("grpc-status", status) + (header("grpc-message", said) if said else b"")
    return frame(1, 5, stream, fields)


def grpc(content, *, packed=0, length=None, extra=(), status="0", said=""):
    """An answer in gRPC."""

    def say(line, stream):
        line.sendall(beginning(stream, *extra))
        line.sendall(message(stream, content, packed=packed, length=length))
        line.sendall(ending(stream, status, said))

    return say


def error(status, said):
    """An error in gRPC."""
    return lambda line, stream: line.sendall(beginning(stream) + ending(stream, status, said))


def serving_rest(say: Say, describe: Say | None = None) -> closing[RestServer]:
    """A server of the REST API."""
    return closing(RestServer(say, describe or answer(metadata())))
