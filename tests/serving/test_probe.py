"""A served model, asked over real sockets."""

import json
import threading

import numpy as np
import pytest

from advkeras.attacks import PGD, configure
from advkeras.datasets import LabelledImages, pictures, registry
from advkeras.errors import InvalidInputError
from advkeras.serving.clients import ServingError, connect, is_loopback
from advkeras.serving.probe import attack_served, compare, measure_load
from advkeras.serving.served import ServedClassifier
from advkeras.serving.signatures import signatures_of
from advkeras.serving.verify import split_images, voted

from ..commands import error_of, run
from .conftest import BOUNDS, SHAPE, VOTE

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
        (server.grpc.replace("grpc", "http"), "small", "serving_default", "cannot reach|something else than JSON"),
    ):
        with pytest.raises(ServingError, match=message):
            ServedClassifier(connect(address, model), bounds=BOUNDS, signature=signature)
    with pytest.raises(InvalidInputError, match="Received: localhost:8501"):
        connect("localhost:8501", "small")


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
    report = json.loads(run("probe", server.grpc, "--model", "small", *what, "--json").stdout)
    assert report["comparison"]["served"]["count"] == 29
    assert report["attack"] is None
    assert report["random"] == 0.0
    noisy = run("probe", server.rest, "--model", "noisy", *what, "--json")
    assert "Doubtful: noisy answers differently at every call, by up to 0." in noisy.stderr
    assert 0 < json.loads(noisy.stdout)["random"] < 1
    wrong = run("probe", server.rest, "--model", "wrong", *what, code=1).stderr.strip().splitlines()[-1]
    assert wrong.startswith("Error: the served wrong gives other classes than the local small on ")
    assert "answers 404 for model missing" in error_of("probe", server.rest, "--model", "missing", code=1)
    assert "cannot reach" in error_of("probe", "http://127.0.0.1:9", "--model", "small", code=1)
    no_signature = error_of("probe", server.rest, "--model", "small", *what, "--signature", "nothing", code=1)
    assert "has no signature nothing" in no_signature
    refused = error_of("probe", "http://192.0.2.1:8501", "--model", "small", *what)
    assert "give --i-own-this-endpoint if it is yours" in refused
