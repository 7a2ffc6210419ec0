"""A server that is a stranger's never crashes a probe, fools it, keeps it, or makes it talk to somewhere else."""

import gzip
import re
import shutil
import socket
import ssl
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from ..commands import run
from . import hostile
from .hostile import CLASSES, SHAPE, answer, drip, metadata, outputs, raw, rows, silence, tensor

TIMEOUT = 1.0
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
REDIRECTS = ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent")
BOMB = gzip.compress(b" " * 2**24)
# What is listened to beside the server, and must hear nothing; its port is put in its place.
ELSEWHERE = "ELSEWHERE"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@contextmanager
def unheard(listening: socket.socket, monkeypatch) -> Iterator[str]:
    """An address that nobody may connect to, which the environment names as a proxy."""
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{address}")
        monkeypatch.setenv(name.upper(), f"http://{address}")
    monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY", address)
    monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES", "127.0.0.0/8")
    yield address
    with pytest.raises(BlockingIOError):
        listening.accept()


def refused(url: str, *options: object, within: float = 3 * TIMEOUT) -> str:
    """The last line of a probe that fails as it should: by one of our errors, soon, in plain text."""
    start = time.monotonic()
    what = ("--model", "mnist", "--local", "mnist-natural", "--examples", 5, "--requests", 2, "--concurrency", 1)
    result = run("probe", url, *what, "--timeout", TIMEOUT, "--largest-answer", 1, *options, code=None)
    assert time.monotonic() - start < within
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    *before, last = result.stderr.strip().split("\n")
    assert last.startswith("Error: "), last
    assert len(last) < 1_000
    assert all(line.startswith(("5 images: ", "Flag ")) for line in before), before
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|function_node|Traceback", result.output)
    return last


def of_signature(inputs=None, outputs=None):
    return answer(metadata(inputs, outputs))


# At a prediction: what the server says, and what the user is told.
SAID = {
    **{
        f"redirect {each[:3]}": (answer({}, status=each, head=[f"Location: http://{ELSEWHERE}/"]), "sends us to")
        for each in REDIRECTS
    },
    "redirect nowhere": (answer({}, status="302 Found"), "answers 302 and sends us to nothing"),
    "silence": (silence, "within 1 s"),
    "drips its status": (drip(b"HTTP/1.1 2", b"0"), "within 1 s"),
    "drips its head": (drip(OK, b"X: y\r\n"), "within 1 s|more than 100 headers"),
    "drips a line of its head": (drip(OK + b"X: ", b"y"), "within 1 s"),
    "drips its body": (drip(OK + b"Content-Length: 100000\r\n\r\n", b" "), "within 1 s"),
    "drips chunks": (drip(CHUNKED, b"1\r\n \r\n"), "within 1 s"),
    "drips a chunk's size": (drip(CHUNKED, b"0"), "within 1 s"),
    "goes on for ever": (drip(OK + b"\r\n", b"[" * 2**16, pause=0), "more than 1 MiB"),
    "goes on for ever in chunks": (drip(CHUNKED, b"10000\r\n" + b" " * 2**16 + b"\r\n", pause=0), "more than 1 MiB"),
    "has a head for ever": (drip(OK, b"X: y\r\n" * 1000, pause=0), "more than 100 headers"),
    "has a line of its head for ever": (drip(OK + b"X: ", b"y" * 2**16, pause=0), "whole HTTP"),
    "continues for ever": (drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, pause=0), "more than 1 MiB"),
    "has trailers for ever": (drip(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000, pause=0), "more than 1 MiB|whole HTTP"),
    "gzip bomb": (answer(BOMB, head=["Content-Encoding: gzip"]), r"compressed \(gzip\)"),
    "deflate bomb": (answer(zlib.compress(b" " * 2**24), head=["Content-Encoding: deflate"]), "compressed"),
    "packed in transfer": (raw(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + BOMB), "JSON|whole HTTP"),
    "announces a petabyte": (raw(OK + b"Content-Length: 1000000000000000\r\n\r\n{"), "more than 1 MiB"),
    "announces more than it says": (answer({"outputs": rows(8)}, length=5000), "whole HTTP"),
    "announces less than it says": (answer({"outputs": rows(8)}, length=10), "JSON"),
    "announces nonsense": (raw(OK + b"Content-Length: -7, x\r\n\r\n{}"), "without outputs|other logits"),
    "ends in its head": (raw(OK[:-4]), "whole HTTP|cannot reach|JSON"),
    "ends at once": (raw(b""), "cannot reach"),
    "ends in a chunk": (raw(CHUNKED + b"100\r\n{"), "whole HTTP"),
    "chunks of garbage": (raw(CHUNKED + b"zz\r\n{}\r\n"), "whole HTTP"),
    "a chunk of less than nothing": (raw(CHUNKED + b"-1\r\n{}\r\n"), "whole HTTP|JSON"),
    "HTTP/0.9": (raw(b"{}"), "whole HTTP"),
    "TLS": (raw(b"\x15\x03\x01\x00\x02\x02\x46"), "whole HTTP"),
    "a status of letters": (raw(b"HTTP/1.1 abc\r\n\r\n{}"), "whole HTTP"),
    "101": (answer({}, status="101 Switching Protocols"), "answers 101|whole HTTP"),
    "204": (raw(b"HTTP/1.1 204 None\r\n\r\n"), "JSON"),
    "no body": (answer(b""), "JSON"),
    "broken JSON": (answer(b'{"outputs": ['), "JSON"),
    "no text": (answer(b"\xff\xfe\x00\x01"), "JSON"),
    "a list": (answer([1]), "JSON"),
    "deeply nested": (answer(b"[" * 500_000), "JSON"),
    "a number without end": (answer(b'{"outputs": ' + b"9" * 9_000 + b"}"), "JSON"),
    "error with status 200": (answer({"error": "no \x1b[31mred\u202e"}), r"with an error: no \\x1b\[31mred\\u202e"),
    "error in colour": (
        answer({"error": "\x1b]0;title\x07\x9b1m"}, status="400 Bad"),
        r"400 .*\\x1b\]0;title\\x07\\x9b1m",
    ),
    "reason in colour": (answer(b"", status="500 \x1b[31mred"), r"500 .*\\x1b\[31mred"),
    "error that is long": (answer({"error": "x" * 100_000}, status="500 No"), r"500 .*x\.\.\."),
    "error that is no text": (answer({"error": [{"a": None}] * 99}, status="500 No"), r"500 .*\{'a': None\}"),
    "error of TensorFlow": (
        answer({"error": "{{function_node __inference_serve_9}} bad shape [[{{node x}}]] [Op:y]"}, status="400 Bad"),
        "400 for model mnist: bad shape$",
    ),
    "nothing": (answer({}), "other logits .*None"),
    "null": (answer({"outputs": None}), "other logits .*None"),
    "text": (answer({"outputs": "seven"}), "other logits .*'seven'"),
    "numbers as text": (outputs(lambda n: [["1.5"] * CLASSES] * n), "no float32, but"),
    "true and false": (outputs(lambda n: [[True] * CLASSES] * n), "no float32, but"),
    "a null among numbers": (outputs(lambda n: [[None] + [0.5] * 9] * n), "no float32, but"),
    "a dictionary": (outputs(lambda n: {"x": rows(n)}), "other logits .*'x'"),
    "ragged": (outputs(lambda n: [[1.0] * (2 + row) for row in range(n)]), "no tensor of numbers"),
    "a nest": (outputs(lambda n: [[[[[1.0]]]]]), "a shape of .1, 1, 1, 1, 1. and not of .any, 10"),
    "one row for all": (outputs(lambda n: rows(1)), r"shape \(1, 10\) for 8 images: a row for each"),
    "a row too many": (outputs(lambda n: rows(n + 1)), r"shape \(9, 10\) for 8 images: a row for each"),
    "no rows": (outputs(lambda n: []), r"a shape of \(0,\) and not of"),
    "a column too many": (outputs(lambda n: [[*row, 0.0] for row in rows(n)]), r"\(8, 11\) and not of \(any, 10\)"),
    "huge whole numbers": (outputs(lambda n: [[10**400] * CLASSES] * n), "no float32, but"),
    "NaN": (outputs(lambda n: [[float("nan")] * CLASSES] * n), "NaN for 8 of 8"),
    "infinite": (outputs(lambda n: [[float("inf")] * CLASSES] * n), "other classes"),
    "beyond float32": (outputs(lambda n: [[1e300] + [0.5] * 9] * n), "other classes"),
    "other classes": (outputs(rows), "gives other classes than the local mnist-natural on"),
}

# At the question for metadata.
DESCRIBED = {
    "redirect": (answer({}, status="307 Temporary", head=[f"Location: http://{ELSEWHERE}/"]), "sends us to"),
    "drips": (drip(OK + b"Content-Length: 100000\r\n\r\n", b" "), "within 1 s"),
    "a list": (answer([]), "JSON"),
    "null in it": (answer({"metadata": None}), "other metadata"),
    "text in it": (answer({"metadata": {"signature_def": "x"}}), "other metadata"),
    "a list in it": (answer({"metadata": {"signature_def": {"signature_def": [1]}}}), "other metadata"),
    "null as a signature": (
        answer({"metadata": {"signature_def": {"signature_def": {"\x1b[31m": None}}}}),
        r"other metadata .*\\x1b\[31m",
    ),
    "no signatures": (answer({"metadata": {"signature_def": {"signature_def": {}}}}), "no signature .*it has none"),
    "a size of letters": (of_signature({"images": tensor(("x",))}), "other metadata"),
    "a size beyond all": (of_signature({"images": tensor((-1, 10**30, 1, 1))}), "other metadata"),
    "a type of its own": (of_signature({"images": tensor((-1, *SHAPE), "DT_ODD")}), "does not map images"),
    "a type that is a number": (of_signature({"images": tensor((-1, *SHAPE), 7)}), "other metadata"),
    "images that are text": (of_signature({"images": tensor((-1,), "DT_STRING")}), "does not map images"),
    "images without end": (of_signature({"images": tensor((-1, 10**6, 10**6, 3))}), "takes images of .1000000, "),
    "images of nothing": (of_signature({"images": tensor((-1, 0, 28, 1))}), "must take one batch of images"),
    "batches without end": (of_signature({"images": tensor((10**9, *SHAPE))}), "more than is ever sent"),
    "two inputs": (
        of_signature({"a\x1b[31m": tensor((-1, *SHAPE)), "b": tensor((-1,))}),
        r"does not map images .*a\\x1b\[31m, b",
    ),
    "no outputs": (answer({"metadata": {"signature_def": {"signature_def": {"serving_default": {}}}}}), "does not map"),
    "outputs that are text": (of_signature(outputs={"y": tensor((-1,), "DT_STRING")}), "does not map images"),
    "another model": (of_signature({"images": tensor((-1, 9, 9, 1))}), r"takes images of \(9, 9, 1\), and those here"),
}


def named(cases):
    return pytest.mark.parametrize(("say", "told"), list(cases.values()), ids=list(cases))


def with_address(say, address):
    """What is said, with the address that nobody may go to in it."""

    class Filled:
        def __init__(self, line):
            self.line = line

        def sendall(self, content):
            self.line.sendall(content.replace(ELSEWHERE.encode(), address.encode()))

        def __getattr__(self, name):
            return getattr(self.line, name)

    return lambda line, images: say(Filled(line), images)


@named(SAID)
def test_a_rest_server_says_what_it_likes(say, told, elsewhere, monkeypatch):
    with unheard(elsewhere, monkeypatch) as address, hostile.serving_rest(with_address(say, address)) as server:
        last = refused(f"http://127.0.0.1:{server.port}")
        assert re.search(told, last), last
        assert server.asked > 1


@named(DESCRIBED)
def test_a_rest_server_describes_what_it_likes(say, told, elsewhere, monkeypatch):
    with (
        unheard(elsewhere, monkeypatch) as address,
        hostile.serving_rest(outputs(rows), with_address(say, address)) as server,
    ):
        last = refused(f"http://127.0.0.1:{server.port}")
        assert re.search(told, last), last


@pytest.mark.parametrize(
    ("answered", "later"),
    [
        (2, answer({"error": "no"}, status="500 No")),
        (4, outputs(lambda n: rows(1))),
        (5, silence),
        (9, answer({"error": "no"}, status="500 No")),
    ],
)
def test_a_rest_server_turns(answered, later, elsewhere, monkeypatch):
    def say(line, images):
        (outputs(rows) if len(server.sizes) <= answered else later)(line, images)

    with unheard(elsewhere, monkeypatch), hostile.serving_rest(say) as server:
        attack = ("--attack", "square", "--queries", 5)
        last = refused(f"http://127.0.0.1:{server.port}", *attack, within=6 * TIMEOUT)
        assert re.search("within 1 s|a row for each|answers 500|other classes", last), last


@pytest.mark.parametrize(
    ("say", "told"),
    [(raw(b"HTTP/1.1 400 Bad\r\n\r\n"), "cannot reach .* by TLS: .*http:// address"), (silence, "within 1 s")],
)
def test_a_plain_server_is_asked_in_tls(say, told, elsewhere, monkeypatch):
    with unheard(elsewhere, monkeypatch), closing(hostile.BluntServer(say, say)) as server:
        last = refused(f"https://localhost:{server.port}")
        assert re.search(told, last), last


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made by openssl")
def test_a_server_in_tls_is_asked_by_its_name(elsewhere, monkeypatch, tmp_path):
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *name, *files)
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")

    class TlsServer(hostile.RestServer):
        def serve(self, line):
            with context.wrap_socket(line, server_side=True) as wrapped:
                super().serve(wrapped)

    with unheard(elsewhere, monkeypatch), closing(TlsServer(outputs(rows), answer(metadata()))) as server:
        assert "certificate unknown" in refused(f"https://localhost:{server.port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert "certificate unknown" in refused(f"https://127.0.0.1:{server.port}")
        assert "other classes than" in refused(f"https://localhost:{server.port}")
        assert re.search("whole HTTP|cannot reach", refused(f"http://localhost:{server.port}"))


def described(**changes):
    """Metadata of the gRPC API."""
    found = get_model_metadata_pb2.SignatureDefMap()
    definition = found.signature_def["serving_default"]
    for key, shape, into in (("images", SHAPE, definition.inputs), ("logits", (CLASSES,), definition.outputs)):
        into[key].dtype = changes.get(key, types_pb2.DT_FLOAT)
        for size in (-1, *shape):
            into[key].tensor_shape.dim.add(size=size)
    packed = any_pb2.Any()
    packed.Pack(found)
    return packed


def described_as(packed):
    response = get_model_metadata_pb2.GetModelMetadataResponse(metadata={"signature_def": packed})
    return hostile.grpc(response.SerializeToString())


def predicted(proto, key="logits"):
    response = predict_pb2.PredictResponse()
    if proto is not None:
        response.outputs[key].CopyFrom(proto)
    return response.SerializeToString()


def shaped(*sizes, dtype=types_pb2.DT_FLOAT, values=(1.0,)):
    """A tensor of few numbers and any shape."""
    proto = tensor_pb2.TensorProto(dtype=dtype, float_val=values)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


FINE = predicted(tf.make_tensor_proto(np.float32(rows(8))))
SAID_IN_GRPC = {
    "silence": (silence, "within 1 s"),
    "begins and is silent": (
        lambda line, stream: (line.sendall(hostile.beginning(stream)), silence(line, 0)),
        "within 1 s",
    ),
    "drips": (
        lambda line, stream: drip(
            hostile.beginning(stream) + hostile.message(stream, b"", length=10**5), hostile.frame(0, 0, stream, b" ")
        )(line, 0),
        "within 1 s",
    ),
    "bomb": (
        hostile.grpc(gzip.compress(b" " * 2**28), packed=1, extra=[("grpc-encoding", "gzip")]),
        "UNIMPLEMENTED|INTERNAL",
    ),
    "packed without saying how": (hostile.grpc(BOMB, packed=1), "answers INTERNAL|something else than"),
    "too much": (hostile.grpc(b" " * 2**21), "more than 1 MiB"),
    "announces too much": (hostile.grpc(b"", length=2**31), "more than 1 MiB"),
    "announces more than it says": (hostile.grpc(FINE, length=len(FINE) + 9), "answers|cannot reach"),
    "no message": (lambda line, stream: line.sendall(hostile.beginning(stream) + hostile.ending(stream)), "answers"),
    "an empty message": (hostile.grpc(b""), "without logits"),
    "garbage": (hostile.grpc(b"\xff" * 99), "something else than a PredictResponse"),
    "a nest": (hostile.grpc(b"\x0a\x80\x10" * 999), "something else than a PredictResponse"),
    "an error in colour": (hostile.error("3", "%1b[31mred"), r"INVALID_ARGUMENT .*\\x1b\[31mred"),
    "an error without a name": (hostile.error("99", "odd"), "UNKNOWN .*odd"),
    "out of reach": (hostile.error("14", "%1b[31mgone"), r"cannot reach .*\\x1b\[31mgone"),
    "an error of TensorFlow": (hostile.error("3", "{{function_node f}} bad shape"), "for model mnist: bad shape$"),
    "a redirect": (
        lambda line, stream: line.sendall(
            hostile.frame(1, 5, stream, hostile.header(":status", "307") + hostile.header("location", "http://x/"))
        ),
        "answers|cannot reach",
    ),
    "a reset": (lambda line, stream: line.sendall(hostile.frame(3, 0, stream, b"\0\0\0\2")), "answers|cannot reach"),
    "goes away": (lambda line, stream: line.sendall(hostile.frame(7, 0, 0, b"\0" * 8)), "answers|cannot reach|within"),
    "no HTTP/2": (raw(b"HTTP/1.1 307 Temporary\r\nLocation: http://127.0.0.1/\r\n\r\n"), "cannot reach|answers"),
    "ends": (lambda line, stream: line.shutdown(socket.SHUT_RDWR), "cannot reach|answers"),
    "another output": (hostile.grpc(predicted(shaped(8, 10), key="\x1b[31m")), "without logits"),
    "one row for all": (hostile.grpc(predicted(shaped(1, 10))), r"shape \(1, 10\) for 8 images: a row for each"),
    "a petabyte of one number": (hostile.grpc(predicted(shaped(10**14, 10))), "more than 1 MiB"),
    "less than nothing": (hostile.grpc(predicted(shaped(-8, 10))), "other logits"),
    "another shape": (hostile.grpc(predicted(shaped(8, 11))), r"\(8, 11\) and not of \(any, 10\)"),
    "too many numbers": (hostile.grpc(predicted(shaped(8, 10, values=[1.0] * 81))), "no whole tensor"),
    "another type": (hostile.grpc(predicted(shaped(8, 10, dtype=types_pb2.DT_INT32))), "no float32, but int32"),
    "text": (hostile.grpc(predicted(tf.make_tensor_proto([["x"] * 10] * 8))), "no float32, but object"),
    "a type of its own": (hostile.grpc(predicted(shaped(8, 10, dtype=999))), "no float32, but unknown"),
    "NaN": (hostile.grpc(predicted(shaped(8, 10, values=[float("nan")]))), "NaN for 8 of 8"),
}
DESCRIBED_IN_GRPC = {
    "silence": (silence, "within 1 s"),
    "garbage": (hostile.grpc(b"\xff" * 99), "something else than a GetModelMetadataResponse"),
    "an empty message": (hostile.grpc(b""), "other metadata .*no signature_def"),
    "another message": (described_as(any_pb2.Any(type_url="type.googleapis.com/x", value=b"x")), "other metadata"),
    "a broken message": (
        described_as(any_pb2.Any(type_url=described().type_url, value=b"\xff\xff")),
        "other metadata .*cannot be read",
    ),
    "a type of its own": (described_as(described(images=999)), "does not map images"),
    "images that are text": (described_as(described(images=types_pb2.DT_STRING)), "does not map images"),
}


@named(SAID_IN_GRPC)
def test_a_grpc_server_says_what_it_likes(say, told, elsewhere, monkeypatch):
    with unheard(elsewhere, monkeypatch), closing(hostile.GrpcServer(say, described_as(described()))) as server:
        last = refused(f"grpc://127.0.0.1:{server.port}")
        assert re.search(told, last), last
        assert server.asked > 1


@named(DESCRIBED_IN_GRPC)
def test_a_grpc_server_describes_what_it_likes(say, told, elsewhere, monkeypatch):
    with unheard(elsewhere, monkeypatch), closing(hostile.GrpcServer(say, say)) as server:
        last = refused(f"grpc://127.0.0.1:{server.port}")
        assert re.search(told, last), last
