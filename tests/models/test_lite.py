"""LiteRT models: classifiers without gradients, in floats or quantised, that answer as their network does."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras import HopSkipJump, RegionClassification, Square
from advkeras.errors import AdvkerasError, InvalidInputError
from advkeras.models import Classifier
from advkeras.regions.shapes import Hypercube
from advkeras.regions.voting import RegionVote
from advkeras.serving.export import export

from ..commands import run
from ..grids import grid

SHAPE = (6, 5, 1)
IMAGES = np.random.default_rng(0).uniform(0, 1, (9, *SHAPE)).astype(np.float32)


def network(activation="softmax", classes=4, batch=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(batch_shape=(batch, *SHAPE)),
            keras.layers.Rescaling(2.0, offset=-1.0),
            keras.layers.Conv2D(4, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(
                classes, activation=activation, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0)
            ),
        ],
        name="mine",
    )


def converted(model, path, *, quantised=False):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in IMAGES)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize("batch", [None, 1])
def test_a_lite_model_answers_as_its_network(activation, batch, tmp_path):
    path = converted(network(activation, batch=batch), tmp_path / "mine.tflite")
    classifier = Classifier.load(path, bounds=(0, 1))
    assert (classifier.input_shape, classifier.num_classes, classifier.differentiable) == (SHAPE, 4, False)
    expected = network()(IMAGES)
    np.testing.assert_allclose(tf.nn.softmax(classifier.logits(IMAGES)), expected, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict(IMAGES), np.argmax(expected, axis=1))


@pytest.mark.parametrize("quantised", [False, True])
def test_one_output_of_a_sigmoid_is_two_classes(quantised, tmp_path):
    model = network("sigmoid", classes=1)
    path = converted(model, tmp_path / "mine.tflite", quantised=quantised)
    probabilities = tf.nn.softmax(Classifier.load(path, bounds=(0, 1)).logits(IMAGES))[:, 1]
    np.testing.assert_allclose(probabilities, model(IMAGES)[:, 0], atol=0.05 if quantised else 1e-5)


def test_a_quantised_model_is_near_its_network(tmp_path):
    model = network()
    classifier = Classifier.load(converted(model, tmp_path / "mine.tflite", quantised=True), bounds=(0, 1))
    np.testing.assert_allclose(tf.nn.softmax(classifier.logits(IMAGES)), model(IMAGES), atol=0.05)


def test_attacks_by_queries_and_votes_run_and_an_export_is_refused(tmp_path):
    path = converted(network(), tmp_path / "mine.tflite", quantised=True)
    classifier = Classifier.load(path, bounds=(0, 1))
    labels = classifier.predict(IMAGES)
    for attack in (Square(epsilon=0.5, queries=200), HopSkipJump(queries=400)):
        result = attack(classifier, IMAGES, labels)
        assert result.success.all()
        assert (classifier.predict(result.adversarials) != labels).all()
    votes = RegionClassification(classifier, radius=0.001, samples=20).predict(IMAGES)
    np.testing.assert_array_equal(votes["class"], labels)
    with pytest.raises(InvalidInputError, match="a LiteRT model cannot be exported"):
        export(classifier, tmp_path / "served", vote=RegionVote(region=Hypercube(0.1), samples=20))
    assert not (tmp_path / "served").exists() or not any((tmp_path / "served").iterdir())


def test_nothing_is_said_where_a_model_is_loaded_and_asked(tmp_path, capfd):
    path = converted(network(), tmp_path / "mine.tflite")
    capfd.readouterr()
    Classifier.load(path, bounds=(0, 1)).logits(IMAGES)
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_what_is_no_lite_model_is_refused(tmp_path, monkeypatch):
    (tmp_path / "mine.tflite").write_bytes(b"no model")
    with pytest.raises(InvalidInputError, match=r"mine.tflite is no readable LiteRT model"):
        Classifier.load(tmp_path / "mine.tflite", bounds=(0, 1))
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(AdvkerasError, match=r"pip install 'advkeras\[lite\]'"):
        Classifier.load(tmp_path / "mine.tflite", bounds=(0, 1))


def test_evaluate_runs_the_attacks_by_queries(tmp_path):
    path = converted(network(), tmp_path / "mine.tflite")
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.argmax(network()(IMAGES), axis=1))
    what = ("--dataset", tmp_path / "data.npz", "--model", path, "--bounds", 0, 1, "--classes", "a,b,c,d")
    short = ("--set", "square.queries=50", "--set", "hopskipjump.queries=100", "--no-convergence-check")
    found = run("evaluate", *what, *short, "--output", tmp_path / "results")
    assert "no gradients by the pixels of mine: hopskipjump and square instead of the usual attacks" in found.stderr
    assert "HopSkipJump" in found.stdout
    assert "returns probabilities" not in found.stderr  # queries go by their order

    network().save(tmp_path / "mine.keras")
    both = (*what, "--model", tmp_path / "mine.keras", *short[:2], *short[-1:], "--output", tmp_path / "both")
    run("evaluate", *both, "--attack", "fgsm,square")
    models = json.loads((tmp_path / "both" / "results.json").read_text())["models"]
    tried = {model["name"]: [row["attack"] for row in model["rows"]] for model in models}
    assert tried == {"mine.tflite": ["benign", "square"], "mine.keras": ["benign", "fgsm", "square"]}
    for command in ("evaluate", "boundary", "curve"):
        nothing = tmp_path / command
        assert "needs gradients" in run(command, "--attack", "optlinf", *what, "--output", nothing, code=2).stderr
        assert not (nothing / "units").exists()


def test_the_figures_of_another_model_of_one_name_leave_the_tables_with_a_word(tmp_path):
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.argmax(network()(IMAGES), axis=1))
    what = ("--dataset", tmp_path / "data.npz", "--bounds", 0, 1, "--attack", "fgsm", "--output", tmp_path / "run")
    said = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        network(activation="softmax" if place == "one" else None).save(tmp_path / place / "mine.keras")
        said.append([run("evaluate", *what, "--model", tmp_path / place / "mine.keras").stderr for _ in range(2)])
    line = "the figures of another model called mine leave the tables in"
    assert [[line in each for each in of_place] for of_place in said] == [[False, False], [True, False]]


@pytest.mark.parametrize(("command",), grid(["evaluate", "curve", "boundary"], fast=[("evaluate",)]))
def test_the_figures_of_a_model_that_is_used_otherwise_leave_the_tables_with_a_word(command, tmp_path):
    pictures = np.rint(255 * IMAGES) / 255
    np.savez(tmp_path / "data.npz", images=pictures, labels=np.argmax(network()(pictures), axis=1))
    network().save(tmp_path / "mine.keras")
    what = ("--dataset", tmp_path / "data.npz", "--bounds", 0, 1, "--model", tmp_path / "mine.keras")
    short = {"curve": (), "boundary": ("--directions", 5), "evaluate": ()}[command]
    attack = () if command == "curve" else ("--attack", "fgsm")
    said = [
        run(command, *what, *short, *attack, *otherwise, "--output", tmp_path / "run").stderr
        for otherwise in ((), (), ("--whole-pixels",), ("--whole-pixels",), ())
    ]
    line = "the figures of mine as it was used before, by other options, leave the tables in"
    assert [line in each for each in said] == [False, False, True, False, True]
