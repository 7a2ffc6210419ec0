"""What is done to pictures outside a model is done within the classifier: its bounds are the picture's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.errors import InvalidInputError
from advkeras.evaluation.units import checksum
from advkeras.models import Classifier
from advkeras.models.preprocessing import Standardising

from ..commands import error_of, run

SHAPE = (6, 5, 3)
IMAGES = np.random.default_rng(0).uniform(0, 255, (5, *SHAPE)).astype(np.float32)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")], name="mine"
    )


@pytest.mark.parametrize("high", [1, 255])
@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_the_modes_are_those_of_keras_applications(mode, high):
    model = network()
    classifier = Classifier.from_keras(model, bounds=(0, high), preprocessing=mode)
    by_hand = keras.applications.imagenet_utils.preprocess_input(IMAGES.copy(), mode=mode)
    np.testing.assert_allclose(tf.nn.softmax(classifier.logits(IMAGES * high / 255)), model(by_hand), atol=1e-5)
    assert classifier.bounds == (0.0, high)
    assert classifier.differentiable


def test_means_and_deviations_are_by_channel_or_for_all():
    model = network()
    for mean, std in (((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), ((128.0,), (64.0,))):
        classifier = Classifier.from_keras(model, bounds=(0, 255), preprocessing=Standardising(mean, std))
        by_hand = (IMAGES - np.array(mean)) / np.array(std)
        np.testing.assert_allclose(tf.nn.softmax(classifier.logits(IMAGES)), model(by_hand), atol=1e-5)


def test_any_function_may_be_the_preprocessing():
    model = network()
    classifier = Classifier.from_keras(model, bounds=(0, 255), preprocessing=lambda images: images / 255)
    np.testing.assert_allclose(tf.nn.softmax(classifier.logits(IMAGES)), model(IMAGES / 255), atol=1e-6)


def test_what_cannot_be_is_refused():
    for said, message in (
        ("Caffe", "did you mean 'caffe'"),
        (Standardising((1.0, 2.0), (1.0, 1.0)), "there are 3 channels"),
        (lambda images: None, "cannot be preprocessed so"),
        (lambda images: 1 / 0, "cannot be preprocessed so: division by zero"),
        (lambda images: images[:0], "one row for each image"),
        (3, "preprocessing must be a mode or a function. Received: preprocessing=3"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            Classifier.from_keras(network(), bounds=(0, 255), preprocessing=said)
    grey = keras.Sequential([keras.Input((6, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(InvalidInputError, match=r"of shape \(6, 5, 1\) cannot be preprocessed so: slice index 2"):
        Classifier.from_keras(grey, bounds=(0, 255), preprocessing="caffe")
    for mean, std in (((0.0,), (0.0,)), ((0.0,), (1.0, 1.0)), ((np.nan,), (1.0,)), ((), ())):
        with pytest.raises(InvalidInputError):
            Standardising(mean, std)


def test_examples_of_another_preprocessing_are_other_examples(tmp_path):
    network().save(tmp_path / "mine.keras")

    def told(preprocessing):
        classifier = Classifier.load(tmp_path / "mine.keras", bounds=(0, 255), preprocessing=preprocessing)
        return checksum(classifier), classifier.usage.record()

    kinds = [
        None,
        "caffe",
        Standardising((1.0,), (2.0,)),
        Standardising((1.0,), (3.0,)),
        lambda images: images / 2,
        lambda images: images / 3,
    ]
    everything = [str(told(kind)) for kind in kinds]
    assert len(set(everything)) == len(kinds)
    assert everything == [str(told(kind)) for kind in kinds]


def test_the_command_line_preprocesses(tmp_path):
    model = network()
    model.save(tmp_path / "mine.keras")
    by_hand = (IMAGES - 128) / np.array([50.0, 60.0, 70.0])
    labels = np.argmax(model(by_hand), axis=1)
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=labels)
    what = ("--dataset", tmp_path / "data.npz", "--model", tmp_path / "mine.keras", "--bounds", 0, 255)
    attack = ("attack", "fgsm", "--classes", "a,b,c,d", "--output", tmp_path / "found.npz", *what)
    run(*attack, "--mean", "128,128,128", "--std", "50,60,70")
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(found["benign_predictions"], labels)
    assert "numbers are separated by commas. Received: '1;2'" in error_of(*attack, "--mean", "1;2")
    assert "stand in for --preprocessing" in error_of(*attack, "--mean", "1", "--preprocessing", "tf")
