"""Of several outputs the one that tells the classes is taken, and the others are kept."""

import keras
import numpy as np
import pytest

from advkeras.errors import InvalidInputError, UnknownOutputError
from advkeras.models import Classifier
from advkeras.regions.shapes import Hypercube
from advkeras.regions.voting import RegionVote
from advkeras.serving.export import export
from advkeras.serving.verify import verify

from ..commands import error_of, run

SHAPE = (6, 5, 1)
VOTE = RegionVote(region=Hypercube(0.1), samples=20)
IMAGES = np.random.default_rng(0).uniform(0, 1, (7, *SHAPE)).astype(np.float32)


def heads(*, as_dictionary=False, **columns):
    """A network with a head for each name."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    features = keras.layers.Flatten()(inputs)
    outputs = {
        name: keras.layers.Dense(count, name=name, activation="softmax" if name == "scores" else None)(features)
        for name, count in columns.items()
    }
    return keras.Model(inputs, outputs if as_dictionary else list(outputs.values()), name="mine")


@pytest.mark.parametrize("as_dictionary", [False, True])
@pytest.mark.parametrize("saved", [False, True])
def test_the_output_is_taken_by_name_by_classes_or_as_logits(as_dictionary, saved, tmp_path):
    def load(model, **said):
        if saved:
            model.export(tmp_path / "mine", verbose=False)
            return Classifier.load(tmp_path / "mine", bounds=(0, 1), **said)
        return Classifier.from_keras(model, bounds=(0, 1), **said)

    if as_dictionary or not saved:  # Keras gives the outputs of a list other names when it exports them
        model = heads(as_dictionary=as_dictionary, box=4, logits=3, other=3)
        classifier = load(model)
        assert (classifier.reading.output, classifier.reading.guessed) == ("logits", False)
        outputs = model(IMAGES)
        np.testing.assert_allclose(classifier.logits(IMAGES), outputs["logits"] if as_dictionary else outputs[1])
        chosen = load(heads(as_dictionary=as_dictionary, box=4, scores=3), output_name="scores")
        assert chosen.reading.how == "found before the softmax"
    model = heads(as_dictionary=as_dictionary, box=4, scores=3, size=1)
    with pytest.raises(UnknownOutputError, match=r"box|output_0 \(N, 4\)"):
        load(model)
    classifier = load(model, classes=3)
    assert (classifier.num_classes, classifier.reading.guessed) == (3, True)
    with pytest.raises(InvalidInputError, match="no output 'boxes'"):
        load(model, output_name="boxes")


def test_the_only_output_with_rows_of_classes_is_taken_without_being_named():
    classifier = Classifier.from_keras(heads(scores=3, size=1), bounds=(0, 1))
    assert (classifier.reading.output, classifier.reading.guessed) == ("scores", True)


def test_a_function_may_return_several_outputs():
    model = heads(a=3, b=1)
    classifier = Classifier(model.__call__, bounds=(0, 1), input_shape=SHAPE, name="mine")
    assert classifier.reading.output == "0"
    np.testing.assert_allclose(classifier.logits(IMAGES), model(IMAGES)[0])


def test_classes_are_no_logits():
    model = heads(a=3)
    classes = keras.Model(model.inputs, keras.ops.argmax(model.outputs[0], axis=1), name="mine")
    with pytest.raises(InvalidInputError, match="must return logits or probabilities of its classes. Received: int32"):
        Classifier.from_keras(classes, bounds=(0, 1))


def test_an_export_keeps_the_other_outputs(tmp_path):
    model = heads(as_dictionary=True, box=4, scores=3)
    classifier = Classifier.from_keras(model, bounds=(0, 1), output_name="scores")
    folder = export(classifier, tmp_path / "served", vote=VOTE)
    served = keras.layers.TFSMLayer(folder, call_endpoint="serving_default")(IMAGES)
    assert set(served) == {"logits", "probabilities", "class", "box"}
    np.testing.assert_allclose(served["box"], model(IMAGES)["box"], atol=1e-6)
    np.testing.assert_allclose(served["probabilities"], model(IMAGES)["scores"], atol=1e-6)
    assert all(check.passed for check in verify(folder, classifier))


def test_an_export_keeps_the_one_output_of_two_classes(tmp_path):
    model = heads(logit=1)
    classifier = Classifier.from_keras(model, bounds=(0, 1))
    folder = export(classifier, tmp_path / "served", vote=VOTE)
    served = keras.layers.TFSMLayer(folder, call_endpoint="serving_default")(IMAGES)
    np.testing.assert_allclose(served["returned"], model(IMAGES), atol=1e-6)
    assert served["logits"].shape == (7, 2)


def test_the_command_line_takes_the_number_of_classes_from_the_data(tmp_path):
    heads(box=4, scores=3).save(tmp_path / "mine.keras")
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.arange(7) % 3)
    what = ("--dataset", tmp_path / "data.npz", "--model", tmp_path / "mine.keras", "--bounds", 0, 1)
    found = run("attack", "fgsm", *what, "--output", tmp_path / "found.npz")
    assert "mine: of its outputs 'scores' is taken (--output-name)" in found.stderr
    wrong = error_of("attack", "fgsm", *what, "--output-name", "boxes", "--output", tmp_path / "found.npz")
    assert "has no output 'boxes'. Received outputs: box (N, 4), scores (N, 3)" in wrong
