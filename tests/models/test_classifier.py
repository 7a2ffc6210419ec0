"""Loading classifiers from everything that holds one."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.errors import InvalidInputError
from advkeras.models import Classifier, layout, saved_model

SHAPE = (6, 5, 1)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ],
        name="small",
    )


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (7, *SHAPE)).astype(np.float32)


def gradient(function, images):
    points = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(points)
        loss = tf.reduce_sum(function(points)[:, 0])
    return tape.gradient(loss, points).numpy()


def test_a_saved_model_answers_and_has_gradients_as_the_keras_model(tmp_path, images):
    model = network()
    folder = saved_model.save(model, tmp_path / "small")
    assert folder == tmp_path / "small" / "1"
    for source in (folder, tmp_path / "small", str(folder)):
        loaded = Classifier.load(source, bounds=(0, 1))
        assert (loaded.name, loaded.num_classes, loaded.input_shape) == ("small", 4, SHAPE)
        np.testing.assert_allclose(loaded.logits(images), model(images).numpy(), atol=1e-6)
        np.testing.assert_allclose(gradient(loaded, images), gradient(model, images), atol=1e-6)


def test_the_highest_version_is_loaded(tmp_path, images):
    saved_model.save(network(), tmp_path)
    second = network()
    second.layers[-1].bias.assign([1.0, 2.0, 3.0, 4.0])
    assert saved_model.save(second, tmp_path).name == "2"
    (tmp_path / "10").mkdir()
    np.testing.assert_allclose(
        Classifier.load(tmp_path, bounds=(0, 1)).logits(images), second(images).numpy(), atol=1e-6
    )


def test_weights_are_written_once(tmp_path):
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(1000)])
    written = sum(file.stat().st_size for file in (saved_model.save(model, tmp_path) / "variables").iterdir())
    assert written < 1.2 * 4 * model.count_params()


def test_a_failed_save_leaves_no_version(tmp_path):
    def fail(_):
        raise RuntimeError("no space left")

    with pytest.raises(RuntimeError):
        saved_model.save(network(), tmp_path, complete=fail)
    assert list(tmp_path.iterdir()) == []


def test_the_served_signature_has_logits_probabilities_and_class(tmp_path, images):
    model = network()
    served = tf.saved_model.load(str(saved_model.save(model, tmp_path))).signatures["serving_default"]
    answer = served(images=tf.constant(images))
    np.testing.assert_allclose(answer["logits"], model(images), atol=1e-6)
    np.testing.assert_allclose(answer["probabilities"].numpy().sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(answer["class"], answer["logits"].numpy().argmax(axis=1))


def test_a_saved_model_of_any_signature_that_returns_logits(tmp_path, images):
    """Written by plain Keras, whose only output has another name."""
    model = network()
    model.export(str(tmp_path / "plain"), verbose=False)
    np.testing.assert_allclose(
        Classifier.load(tmp_path / "plain", bounds=(0, 1)).logits(images), model(images), atol=1e-6
    )


def test_a_keras_file(tmp_path, images):
    model = network()
    model.save(tmp_path / "mine.keras")
    loaded = Classifier.load(tmp_path / "mine.keras", bounds=(0, 255))
    assert (loaded.name, loaded.bounds) == ("mine", (0.0, 255.0))
    np.testing.assert_allclose(loaded.logits(images), model(images).numpy(), atol=1e-6)


def test_what_is_no_classifier_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.keras").write_text("no model")
    broken = saved_model.save(network(), tmp_path / "broken")
    (broken / "saved_model.pb").write_bytes(b"no graph")
    no_bounds = saved_model.save(network(), tmp_path / "no_bounds")
    for call, message in (
        (lambda: Classifier.load("mnist-naturel"), "did you mean 'mnist-natural'"),
        (lambda: Classifier.load(tmp_path / "empty"), "holds no SavedModel"),
        (lambda: Classifier.load(tmp_path / "text.keras", bounds=(0, 1)), "no readable Keras file"),
        (lambda: Classifier.load(broken, bounds=(0, 1)), "no readable SavedModel"),
        (lambda: Classifier.load(no_bounds), "give --bounds"),
        (lambda: Classifier.from_keras(network(), bounds=(1, 0)), "bounds must be finite and increasing"),
        (lambda: Classifier(lambda x: x, bounds=(0, 1), input_shape=SHAPE, name="f"), "one row for each image"),
        (lambda: Classifier(network(), bounds=(0, 1), input_shape=(9, 9, 1), name="f"), "does not take images"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_a_damaged_card_is_named(tmp_path):
    folder = saved_model.save(network(), tmp_path)
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "model_card.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(InvalidInputError, match="does not hold a model card"):
        Classifier.load(tmp_path)


def test_bounds_that_contradict_the_card_are_refused():
    assert Classifier.load("mnist-natural", bounds=(0, 1)).bounds == (0.0, 1.0)
    with pytest.raises(InvalidInputError, match=r"pixels lie in \[0.0, 1.0\]. Received: bounds=\(0, 255\)"):
        Classifier.load("mnist-natural", bounds=(0, 255))


def test_the_checksum_tells_an_altered_model(tmp_path):
    folder = saved_model.save(network(), tmp_path)
    before = layout.checksum(folder)
    weights = next((folder / "variables").glob("*.data*"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert layout.checksum(folder) != before


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("file", ["variables.data-00000-of-00001", "variables.index"])
def test_a_saved_model_whose_file_is_cut_off_is_refused(tmp_path, file, kept):
    folder = saved_model.save(network(), tmp_path / "cut")
    path = folder / "variables" / file
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InvalidInputError, match=r"cut.* is (no readable|a damaged) SavedModel"):
        Classifier.load(tmp_path / "cut", bounds=(0, 1))
