"""A served model, asked over real sockets."""

import json
import socket
import threading

import numpy as np
import pytest

from advkeras.attacks import PGD, configure
from advkeras.datasets import LabelledImages, pictures, registry
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.models.usage import Usage
from advkeras.serving.clients import ServingError, connect, is_loopback
from advkeras.serving.probe import attack_served, compare, measure_load, require_load
from advkeras.serving.served import ServedClassifier
from advkeras.serving.signatures import signatures_of
from advkeras.serving.verify import split_images, voted

from ..commands import error_of, run
from . import hostile
from .conftest import BOUNDS, SHAPE, VOTE, ending_with
from .hostile import http, rows

APIS = pytest.mark.parametrize("api", ["grpc", "rest"])
SPEC = registry.own("made-up", bounds=BOUNDS, shape=SHAPE, class_names=("ant", "bee", "cow", "doe"))


@pytest.fixture
def data(small) -> LabelledImages:
    images = np.random.default_rng(3).uniform(*BOUNDS, (30, *SHAPE)).astype(np.float32)
    labels = small.predict(images)
    labels[4] = (labels[4] + 1) % 4
    return LabelledImages(images, labels, "made-up images", "test")


def served(server, api, model="small"):
    return ServedClassifier(connect(getattr(server, api), model), bounds=BOUNDS)


@APIS
def test_each_signature_is_answered(server, api, small, exported, images):
    client = connect(getattr(server, api), "small", version=1)
    known = client.signatures()
    assert known == signatures_of(exported / "1")
    np.testing.assert_allclose(
        client.predict({"images": images}, signature="serving_default")["logits"], small.logits(images), atol=1e-5
    )
    seed = np.arange(7, dtype=np.int32)
    answer = client.predict({"images": images, "seed": seed}, signature="region_seeded")
    np.testing.assert_array_equal(answer["votes"], voted(small, VOTE, images, seed)["votes"])
    encoded = np.array(pictures.encoded(images, BOUNDS), object)
    answer = client.predict({"image_bytes": encoded}, signature="serving_bytes")
    np.testing.assert_allclose(answer["logits"], small.logits(images), atol=0.1)
    client.close()


@APIS
def test_a_served_model_is_the_local_one_or_not(server, api, small, data):
    same = compare(served(server, api), small, data, SPEC.class_names)
    assert (same.differing, same.served, same.local) == ((), same.local, same.served)
    assert (same.served.count, same.served.of) == (29, 30)
    assert same.largest_difference < 1e-5
    assert sum(theirs.of for theirs, _ in same.by_class.values()) == 30
    cranes = compare(served(server, api), small, data, ("crane",) * len(SPEC.class_names))  # as ImageNet has two
    assert [*cranes.by_class.values()] == [*same.by_class.values()]
    other = served(server, api, "wrong")
    differing = np.flatnonzero(other.predict(data.images) != small.predict(data.images))
    assert len(differing) > 0
    assert compare(other, small, data, SPEC.class_names).differing == tuple(differing)


@APIS
def test_an_attack_by_queries_finds_the_same_there_and_here(server, api, small, data):
    attack = configure("square", SPEC, epsilon=0.6, queries=60)
    found = attack_served(attack, served(server, api), small, data)
    assert found.served == found.local
    assert found.served.rate < 0.9
    assert 0 < found.queries <= 60
    with pytest.raises(InvalidInputError, match="PGD needs gradients, and small gives none"):
        PGD(epsilon=0.1, step=0.1, iterations=1)(served(server, api), data.images, data.labels)


def test_load_is_answered_without_errors_and_with_fresh_regions(server, small):
    votes, lock, images = {}, threading.Lock(), split_images(small, VOTE)

    def keep(number, answer):
        with lock:
            votes[number] = answer["votes"].tobytes()

    load = measure_load(
        lambda: connect(server.grpc, "small"),
        lambda number: {"images": images, "seed": np.full(len(images), number, np.int32)},
        signature="region_seeded",
        threads=4,
        requests=40,
        batch_size=len(images),
        keep=keep,
    )
    assert load.errors == 0
    assert 0 < load.p50 <= load.p95 <= load.p99
    assert len(set(votes.values())) == 40
    broken = measure_load(
        lambda: connect(server.rest, "missing"),
        lambda number: {"images": images},
        signature="serving_default",
        threads=2,
        requests=4,
        batch_size=len(images),
    )
    assert broken.errors == 4
    assert "404 for model missing" in broken.first_error


def test_what_is_wrong_is_said(server):
    for address, model, signature, message in (
        (server.rest, "missing", "serving_default", "answers 404 for model missing"),
        (server.grpc, "missing", "serving_default", "answers NOT_FOUND for model missing"),
        (server.rest, "small", "nothing", "has no signature nothing: it has region, region_seeded, serving_bytes"),
        (server.grpc, "small", "region_seeded", "does not map images"),
        ("http://127.0.0.1:9", "small", "serving_default", "cannot reach http://127.0.0.1:9: Connection refused"),
        ("grpc://127.0.0.1:9", "small", "serving_default", "cannot reach grpc://127.0.0.1:9"),
        (server.grpc.replace("grpc", "http"), "small", "serving_default", "does not answer in whole HTTP"),
        (server.rest.replace("http", "grpc"), "small", "serving_default", "cannot reach|answers"),
    ):
        with pytest.raises(ServingError, match=message):
            ServedClassifier(connect(address, model), bounds=BOUNDS, signature=signature)
    for address in (
        "localhost:8501",
        "http://",
        "http://localhost:many",
        "http://localhost:99999",
        "http://[::1",
        "ftp://localhost",
        "grpc://localhost",
        "grpc://localhost:1/x",
        "http://me:secret@localhost:1",
        "http://localhost:1/?x=1",
        "http://" + "x" * 70 + ".invalid",
    ):
        with pytest.raises(InvalidInputError, match="address is http://HOST:PORT .REST. or grpc://HOST:PORT"):
            connect(address, "small")
    with pytest.raises(ServingError, match="cannot reach http://host.invalid:1: "):
        connect("http://host.invalid:1", "small")


@pytest.mark.parametrize("number", [0, -1, float("nan"), float("inf"), 10**12])
def test_numbers_that_make_no_sense_are_refused(number, server):
    load = {"signature": "serving_default", "threads": 1, "requests": 1, "batch_size": 1}
    for name in ("threads", "requests", "batch_size"):
        with pytest.raises(InvalidInputError):
            measure_load(lambda: pytest.fail("connected"), lambda _: {}, **{**load, name: number})
    for name in ("timeout", "largest_answer"):
        with pytest.raises(InvalidInputError, match=name):
            connect(server.rest, "small", **{name: number})
    for options in (("--batch-size", -3), ("--requests", 0), ("--concurrency", 10**12), ("--timeout", number)):
        assert "Received: " in error_of("probe", server.rest, "--model", "small", *options)
    with pytest.raises(InvalidInputError, match="version"):
        connect(server.rest, "small", version=-1)
    with pytest.raises(InvalidInputError, match="at most"):
        require_load(threads=1, requests=1, batch_size=1_000, image=224 * 224 * 3)


def test_a_name_is_looked_up_once(server, monkeypatch):
    looked_up, real = [], socket.getaddrinfo

    def look_up(host, *arguments, **options):
        looked_up.append(host)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for api in ("rest", "grpc"):
        with connect(getattr(server, api).replace("127.0.0.1", "localhost"), "small") as client:
            assert client.address.is_loopback
            client.signatures()
            with client.another() as other:
                other.predict({"images": np.zeros((1, *SHAPE), np.float32)}, signature="serving_default")
    assert looked_up == ["localhost", "localhost"]


@APIS
def test_requests_are_as_large_as_the_server_takes(server, api, small, data):
    few = served(server, api, "few")
    np.testing.assert_allclose(few.logits(data.images), small.logits(data.images), atol=1e-5)
    assert few.at_once == 3
    assert [few.taken_of(wanted) for wanted in (2, 8)] == [2, 3]


@pytest.mark.parametrize(
    ("taken", "sent"),
    [
        (hostile.tensor((-1, 28, 28)), (6, 28, 28)),
        (hostile.tensor((-1, 784)), (6, 784)),
        (hostile.tensor((-1, 1, 28, 28), "DT_HALF"), (6, 1, 28, 28)),
        (hostile.tensor((-1, -1, -1, -1), "DT_UINT8"), (6, 28, 28, 1)),
        ({"dtype": "DT_DOUBLE", "tensor_shape": {"unknown_rank": True}}, (6, 28, 28, 1)),
        (hostile.tensor((4, 28, 28, 1)), (4, 28, 28, 1)),
    ],
    ids=["no channels", "flat", "channels first", "whole numbers", "any", "four at once"],
)
def test_images_are_sent_as_the_server_takes_them(taken, sent):
    describe = hostile.answer(hostile.metadata({"x": taken}, {"y": hostile.tensor((-1, 10))}))
    pixels = np.random.default_rng(0).integers(0, 256, (6, *hostile.SHAPE)).astype(np.float32)
    with (
        hostile.serving_rest(hostile.outputs(rows), describe) as server,
        connect(f"http://127.0.0.1:{server.port}", "mnist") as client,
    ):
        there = ServedClassifier(client, bounds=(0, 255), usage=Usage(shape=hostile.SHAPE))
        assert there.num_classes == 10
        assert there.logits(pixels).shape == (6, 10)
        assert np.shape(server.last) == sent
        first = np.asarray(server.last).reshape(sent[0], -1)[0]
        np.testing.assert_array_equal(first, pixels[4 if sent[0] == 4 else 0].reshape(-1))
        assert there.taken_of(8) == (4 if sent[0] == 4 else 8)


def test_a_server_that_takes_few_images_and_does_not_say_how_many():
    sizes = []

    def say(line, images):
        sizes.append(images)
        line.sendall(http({"outputs": rows(images)} if images < 3 else {"error": "too large"}, status="200 OK"))

    with hostile.serving_rest(say) as server, connect(f"http://127.0.0.1:{server.port}", "mnist") as client:
        few = ServedClassifier(client, bounds=(0, 1))
        assert few.at_once == 2
        assert sizes[:7] == [8, 4, 2, 2, 2, 2, 2]


def test_a_server_that_takes_none_is_asked_a_few_times():
    refusing = hostile.answer({"error": "maximum batch size: 7"}, status="400 Bad")
    with hostile.serving_rest(refusing) as server, connect(f"http://127.0.0.1:{server.port}", "mnist") as client:
        with pytest.raises(ServingError, match="maximum batch size: 7"):
            ServedClassifier(client, bounds=(0, 1))
        assert server.sizes == [8, 7, 3, 1]


@APIS
@pytest.mark.parametrize("model", ["plain", "softmax"])
def test_what_keras_exports_is_taken(server, api, model, small, data):
    there = ServedClassifier.beside(connect(getattr(server, api), model), small)
    comparison = compare(there, small, data, SPEC.class_names)
    assert comparison.differing == ()
    assert comparison.largest_difference < 1e-5
    assert comparison.compared == ("logits" if model == "plain" else "probabilities")
    assert there.reading.how == ("as returned" if model == "plain" else "logarithms of probabilities")


def test_one_probability_is_taken_as_the_local_model_has_it(server, data):
    local = Classifier.from_keras(ending_with("one"), bounds=BOUNDS, threshold=0.3)
    there = ServedClassifier.beside(connect(server.rest, "one"), local)
    np.testing.assert_allclose(there.logits(data.images), local.logits(data.images), atol=1e-4)


def test_a_server_that_fails_again_and_again_is_left_alone():
    with hostile.serving_rest(hostile.answer({"error": "no"}, status="500 No")) as server:
        load = measure_load(
            lambda: connect(f"http://127.0.0.1:{server.port}", "mnist"),
            lambda number: {"images": np.zeros((1, *hostile.SHAPE), np.float32)},
            signature="serving_default",
            threads=2,
            requests=500,
            batch_size=1,
        )
    assert 10 <= load.errors == load.requests <= 12
    assert 0 < load.waiting <= 1


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:8501", True),
        ("grpc://127.0.0.2:1", True),
        ("http://[::1]:8501", True),
        ("http://192.0.2.1:8501", False),
        ("http://host.invalid", False),
    ],
)
def test_only_this_machine_is_loopback(url, loopback):
    assert is_loopback(url) == loopback


def test_the_command_probes(server, exported, data, tmp_path):
    np.savez(tmp_path / "mine.npz", images=data.images, labels=data.labels)
    what = ("--dataset", tmp_path / "mine.npz", "--local", exported, "--requests", 8)
    result = run("probe", server.rest, "--model", "small", *what, "--attack", "hopskipjump", "--queries", 40)
    assert "0 images with another class than the local model's" in result.stdout
    assert "8 requests of 8 images, 4 at once" in result.stdout
    assert "HopSkipJump" in result.stdout
    few = run("probe", server.rest, "--model", "few", *what)
    assert "the server takes 3 images at once, and so many are in a request" in few.stderr
    assert "8 requests of 3 images, 4 at once" in few.stdout
    assert "% of " in result.stdout.splitlines()[-1]
    assert result.stdout.splitlines()[-1].endswith(" s went by waiting for the server and the network")
    report = json.loads(run("probe", server.grpc, "--model", "small", *what, "--json").stdout)
    assert report["comparison"]["served"]["count"] == 29
    assert report["attack"] is None
    assert report["random"] == 0.0
    assert 0 < report["waiting"] < 1
    noisy = run("probe", server.rest, "--model", "noisy", *what, "--json")
    assert "Flag random-outputs: noisy answers differently at every call, by up to 0." in noisy.stderr
    assert 0 < json.loads(noisy.stdout)["random"] < 1
    wrong = run("probe", server.rest, "--model", "wrong", *what, code=1).stderr.strip().splitlines()[-1]
    assert wrong.startswith("Error: the served wrong gives other classes than the local small on ")
    assert "answers 404 for model missing" in error_of("probe", server.rest, "--model", "missing", code=1)
    assert "cannot reach" in error_of("probe", "http://127.0.0.1:9", "--model", "small", code=1)
    no_signature = error_of("probe", server.rest, "--model", "small", *what, "--signature", "nothing", code=1)
    assert "has no signature nothing" in no_signature
    refused = error_of("probe", "http://192.0.2.1:8501", "--model", "small", *what)
    assert "give --i-own-this-endpoint if it is yours" in refused
