"""Exported SavedModels: what they answer, in Python, through the C API, and when something goes wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras import regions
from advkeras.datasets import pictures
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier, ModelCard, layout
from advkeras.regions.voting import RegionVote
from advkeras.serving import signatures
from advkeras.serving.c_api import CApiError, CApiProcess
from advkeras.serving.export import WARM_UP, export
from advkeras.serving.verify import Server, _fresh, split_images, verify

from ..commands import error_of, run
from ..conftest import linear_classifier
from .conftest import BOUNDS, SHAPE, VOTE, classifier_of

REPOSITORY = Path(__file__).parents[2]


def failed(checks):
    return {check.subject for check in checks if not check.passed}


def test_every_signature_answers_as_the_model(small, exported, detector, tmp_path):
    plain = verify(exported / "1", small)
    assert failed(plain) == set()
    assert {check.subject for check in plain} == {"XLA", "serving_default", "serving_bytes", "region", "region_seeded"}
    folder = export(small, tmp_path / "small", vote=VOTE, detector=detector)
    checks = verify(folder, small, detector=detector)
    assert failed(checks) == set()
    assert "detect" in {check.subject for check in checks}


def test_a_saved_model_is_exported_as_the_keras_model_was(small, exported, images, tmp_path):
    loaded = Classifier.load(exported, bounds=BOUNDS)
    folder = export(loaded, tmp_path / "again", vote=VOTE)
    assert failed(verify(folder, small)) == set()
    np.testing.assert_allclose(Classifier.load(folder).logits(images), small.logits(images), atol=1e-5)
    card = ModelCard.read(folder)
    assert (card.name, card.bounds, card.input_shape) == ("again", BOUNDS, SHAPE)
    assert card.checksum == layout.checksum(folder)
    assert card.serving["region"]["radius"] == 0.5


def sure(scale: float) -> Classifier:
    """A linear model so sure of its classes that all points around an image say the same."""
    weights = np.zeros((int(np.prod(SHAPE)), 4), np.float32)
    weights[0] = scale * np.arange(4)
    return linear_classifier(weights, np.zeros(4), shape=SHAPE, bounds=BOUNDS)


@pytest.mark.parametrize("scale", [1e6, 0.0], ids=["sure", "one class everywhere"])
def test_a_sure_model_is_not_held_to_have_old_points(scale, tmp_path):
    classifier = sure(scale)
    checks = verify(export(classifier, tmp_path / "sure", vote=VOTE), classifier)
    assert failed(checks) == set()
    assert [check.detail for check in checks if check.subject == "region"] == [
        "two requests: other points on 4 of 4 images"
    ]


def test_noise_that_is_baked_in_is_found(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, *SHAPE)).astype(np.float32)
    monkeypatch.setattr(
        regions.Hypercube, "offsets", lambda self, shape, seed: tf.broadcast_to(tf.constant(noise), shape)
    )
    classifier = sure(1e6)
    checks = verify(export(classifier, tmp_path / "baked", vote=VOTE), classifier)
    assert failed(checks) == {"region"}
    assert [check.detail for check in checks if check.subject == "region"] == [
        "two requests: other points on 0 of 4 images"
    ]


def test_what_draws_no_points_has_no_fresh_ones():
    same = {"noise": np.zeros(2)}
    assert not _fresh("region", same, same, VOTE).passed
    assert _fresh("region", same, {"noise": np.array([0, 1])}, VOTE).passed
    assert _fresh("region", same, same, RegionVote(region=regions.Hypercube(0.0))).passed
    older = _fresh("region", {}, {}, VOTE)
    assert (older.passed, older.detail) == (False, "it does not say which points were drawn: export the model anew")


@pytest.mark.parametrize("samples", [0, -1, 10**12, 2**31, 100_001])
def test_a_vote_has_so_many_points_and_no_more(samples):
    with pytest.raises(InvalidInputError, match=r"samples must lie in \[1, 100000\]"):
        RegionVote(region=regions.Hypercube(0.5), samples=samples)


def test_verify_finds_another_model(exported):
    assert failed(verify(exported / "1", classifier_of(1))) >= {"serving_default", "serving_bytes", "region_seeded"}


def test_verify_finds_a_graph_that_demands_xla(tmp_path):
    dense = tf.Variable(np.ones((30, 4), np.float32))
    module = tf.Module()
    module.dense = dense
    module.compiled = tf.function(lambda x: tf.reshape(x, (-1, 30)) @ dense, jit_compile=True)
    tf.saved_model.save(
        module,
        str(tmp_path / "xla"),
        signatures=tf.function(
            lambda images: {"logits": module.compiled(images)},
            input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="images")],
        ),
    )
    classifier = Classifier.load(tmp_path / "xla", bounds=BOUNDS)
    found = failed(verify(export(classifier, tmp_path / "served", vote=VOTE), classifier))
    assert {"XLA", "serving_default"} <= found


def test_a_seed_set_for_python_is_not_baked_in(small, tmp_path):
    # Where votes are unanimous, fresh ones are equal.
    images = split_images(small, VOTE)
    keras.utils.set_random_seed(0)
    folder = export(small, tmp_path / "small", vote=VOTE)
    votes = []
    for _ in range(2):
        with CApiProcess(folder) as process:
            call = Server(process.run, signatures.signatures_of(folder))
            votes += [call("region", {"images": images})["votes"] for _ in range(2)]
    assert len({vote.tobytes() for vote in votes}) == 4
    np.testing.assert_array_equal(np.sum(votes, axis=2), 40)


def test_pictures_are_decoded_into_pixel_units(small, exported, images):
    served = tf.saved_model.load(str(exported / "1")).signatures["serving_bytes"]
    eighths = np.round((images - BOUNDS[0]) / 4 * 255) / 255 * 4 + BOUNDS[0]
    answer = served(image_bytes=tf.constant(pictures.encoded(images, BOUNDS)))
    np.testing.assert_allclose(answer["logits"], small.logits(eighths), atol=1e-4)
    wrong = tf.io.encode_png(np.zeros((9, 5, 1), np.uint8)).numpy()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"\[9,5,1\] is not compatible with expected shape \[6,5,1\]"
    ):
        served(image_bytes=tf.constant([wrong]))
    with pytest.raises(InvalidInputError, match="Received: images of 2"):
        pictures.encoded(np.zeros((1, 4, 4, 2)), BOUNDS)


def test_warm_up_requests_are_answered(exported):
    from tensorflow_serving.apis import prediction_log_pb2

    served = tf.saved_model.load(str(exported / "1")).signatures
    names = []
    for record in tf.data.TFRecordDataset(str(exported / "1" / "assets.extra" / WARM_UP)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        names.append(request.model_spec.signature_name)
        assert request.model_spec.name == "small"
        answer = served[names[-1]](
            **{key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        )
        assert answer["class"].shape == (1,)
    assert set(names) == {"serving_default", "serving_bytes", "region", "region_seeded"}


@pytest.mark.slow
def test_a_killed_export_leaves_no_version(tmp_path):
    script = f"""
import os, signal
from pathlib import Path
from advkeras.serving import export
from tests.serving.conftest import VOTE, classifier_of
export.write_warm_up = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
export.export(classifier_of(0), Path({str(tmp_path / "small")!r}), vote=VOTE)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, env={**os.environ}, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = [path.name for path in (tmp_path / "small").iterdir()]
    assert len(left) == 1, "the export was killed after it had begun to write"
    assert not left[0].isdigit()
    assert layout.versions(tmp_path / "small") == []
    assert export(classifier_of(0), tmp_path / "small", vote=VOTE).name == "1"


def test_what_cannot_be_exported_is_said_in_one_line(small, exported, tmp_path):
    variable = tf.Variable(np.ones((30, 4), np.float32))
    unknown = Classifier(lambda x: tf.reshape(x, (-1, 30)) @ variable, bounds=BOUNDS, input_shape=SHAPE, name="unknown")
    with pytest.raises(InvalidInputError, match="cannot write a SavedModel"):
        export(unknown, tmp_path / "unknown", vote=VOTE)
    assert list((tmp_path / "unknown").iterdir()) == []
    constant = linear_classifier(np.ones((24, 3)), np.zeros(3))
    assert failed(verify(export(constant, tmp_path / "constant", vote=VOTE), constant)) == set()
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot write to the folder"):
        export(small, tmp_path / "file" / "small", vote=VOTE)
    (tmp_path / "2" / "assets").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match="no model card that says how"):
        verify(tmp_path / "2", small)


def test_the_c_api_says_what_is_wrong(exported, images, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(InvalidInputError, match="C API does not load"):
        CApiProcess(tmp_path)
    with CApiProcess(exported / "1") as process:
        with pytest.raises(CApiError, match="no tensor nothing:0"):
            process.run({}, ["nothing:0"])
        call = Server(process.run, signatures.signatures_of(exported / "1"))
        with pytest.raises(CApiError):
            call("serving_default", {"images": images[..., 0]})
        assert call("serving_default", {"images": images})["class"].shape == (7,), "it goes on after an error"
        now, peak = process.memory()
        assert 10**7 < now <= peak
        process._process.kill()
        with pytest.raises(CApiError, match="the process ended with exit code -9"):
            call("serving_default", {"images": images})


def test_outputs_of_any_type_are_no_reason_to_fail(tmp_path):
    """What a model returns beside its classes is exported, too: half precision can be fetched, strings need not be."""

    class Beside(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)])
        def serve(self, images):
            logits = tf.reshape(images, (-1, int(np.prod(SHAPE))))[:, :4]
            half = tf.cast(logits, tf.float16)
            brain, names = tf.cast(logits, tf.bfloat16), tf.as_string(tf.argmax(logits, axis=1))
            return {"logits": logits, "half": half, "brain": brain, "names": names}

    module = Beside()
    tf.saved_model.save(module, str(tmp_path / "mine"), signatures=module.serve)
    folder = export(Classifier.load(tmp_path / "mine", bounds=BOUNDS), tmp_path / "out", vote=VOTE)
    assert failed(verify(folder, Classifier.load(folder))) == set()
    found = signatures.signatures_of(folder)
    images = np.random.default_rng(0).uniform(*BOUNDS, (2, *SHAPE)).astype(np.float32)
    with CApiProcess(folder) as process:
        answer = Server(process.run, found)("serving_default", {"images": images})
        assert answer["half"].dtype == np.float16
        np.testing.assert_array_equal(answer["half"], answer["logits"].astype(np.float16))
        with pytest.raises(CApiError, match="no array is made of a tensor of TensorFlow's type 7 here"):
            process.run(
                {found["serving_default"].inputs["images"].tensor: images},
                [found["serving_default"].outputs["names"].tensor],
            )


def test_the_command_exports_and_verifies_a_users_model(small, tmp_path):
    small.model.save(tmp_path / "mine.keras")
    arguments = ("export", tmp_path / "mine.keras", "--bounds", -1, 3, "--radius", 0.5, "--samples", 30)
    result = run(*arguments, "--output", tmp_path / "mine", "--verify")
    assert "region_seeded: other votes than here on 0 of 8 images" in result.stdout
    assert "FAILED" not in result.stdout
    assert (
        run(*arguments, "--output", tmp_path / "mine").stdout.strip().endswith(f"written to {tmp_path / 'mine' / '2'}")
    )
    assert ModelCard.read(tmp_path / "mine" / "2").serving["region"]["samples"] == 30
    refused = error_of(*arguments, "--stop", "soon", "--output", tmp_path / "mine")
    assert "stop must be 'never', 'exact' or 'confident'. Received: stop='soon'" in refused
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["1", "2"]
