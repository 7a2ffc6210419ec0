"""Validation under attack: its figure, and noticing a collapse."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from advkeras.datasets import MNIST
from advkeras.errors import AdvkerasError
from advkeras.models import architectures
from advkeras.training import robust_validation
from advkeras.training.adversarial_training import AdversarialTraining, TrainingAttack
from advkeras.training.robust_validation import CraftedPictures, EndsAtNaN, EpochSeconds, RobustValidation


@pytest.mark.parametrize(
    ("crafted", "robust", "epoch", "collapsed"),
    [(0.9, 0.06, 3, True), (0.9, 0.06, 1, True), (0.9, 0.8, 3, False), (0.9, 0.06, 0, False), (0.1, 0.0, 3, False)],
)
def test_a_collapse_is_noticed_and_said(sample, small, monkeypatch, crafted, robust, epoch, collapsed):
    lines = []
    validation = RobustValidation(
        sample.images[:10], sample.labels[:10], epsilon=0.3, grown_after=2, report=lines.append
    )
    validation.set_model(
        AdversarialTraining(
            architectures.build("madry-mnist", MNIST),
            bounds=(0.0, 1.0),
            attack=TrainingAttack(epsilon=0.3, step=1.25, iterations=1),
        )
    )
    monkeypatch.setattr(validation, "accuracies", lambda: (0.98, robust))
    logs = {"accuracy": crafted}
    assert not validation.collapsed
    validation.on_epoch_end(epoch, logs)
    assert (logs["val_accuracy"], logs["val_robust_accuracy"]) == (0.98, robust)
    assert validation.collapsed == collapsed
    assert len(lines) == collapsed
    said = f"catastrophic overfitting after epoch {epoch + 1}: 90% on the examples"
    assert all(line.startswith(said) for line in lines)


@pytest.mark.parametrize(
    ("loss", "weight", "said"), [(np.nan, 1.0, "loss nan"), (0.5, np.inf, "weights that are not finite")]
)
def test_a_loss_or_weights_that_are_no_numbers_end_a_training(loss, weight, said):
    ends = EndsAtNaN()
    ends.set_model(SimpleNamespace(get_weights=lambda: [np.ones(3), np.full(2, weight)]))
    with pytest.raises(AdvkerasError, match=f"in epoch 3: {said}. Nothing is written"):
        ends.on_epoch_end(2, {"loss": loss, "accuracy": 0.5})


def test_an_epochs_seconds_lie_between_its_beginning_and_its_end(monkeypatch):
    clock, logs, seconds = iter([100.0, 103.26]), {}, EpochSeconds()
    monkeypatch.setattr(robust_validation, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    seconds.on_epoch_begin(0)
    seconds.on_epoch_end(0, logs)
    assert logs == {"seconds": 3.3}


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3)])
def test_the_picture_has_eight_images_above_what_is_crafted_of_them(tmp_path, monkeypatch, channels, shown):
    drawn, images = [], np.random.default_rng(0).uniform(-1, 2, (10, 4, 3, channels)).astype(np.float32)
    monkeypatch.setattr(robust_validation.tf.summary, "image", lambda name, picture: drawn.append(picture.numpy()))
    pictures = CraftedPictures(tmp_path, images, np.zeros(10, np.int32))
    pictures.set_model(SimpleNamespace(bounds=(-1.0, 3.0), craft=lambda images, labels: images + 1.0))
    pictures.on_epoch_end(0)
    above = np.concatenate(images[:8], axis=1)
    expected = (np.concatenate([above, above + 1]) + 1) / 4
    np.testing.assert_allclose(drawn[0], expected[None, ..., :shown], atol=1e-6)


def test_robust_validation_measures_accuracy_under_pgd(sample, natural):
    """The same figure as the attack of that name gives on the same model."""
    from advkeras.attacks import PGD

    network = keras.Sequential([keras.Input(MNIST.shape), keras.layers.Lambda(natural)])
    model = AdversarialTraining(network, bounds=(0.0, 1.0))
    images, labels = sample.images[:40], sample.labels[:40]
    validation = RobustValidation(images, labels, epsilon=0.05, grown_after=0, report=print)
    validation.set_model(model)
    attack = PGD(epsilon=0.05, step=0.05 / 8, iterations=robust_validation._ITERATIONS)
    expected = (attack(natural, images, labels).predictions == labels).mean()
    assert 0.1 < expected < 0.99
    benign, robust = validation.accuracies()
    assert benign == (natural.predict(images) == labels).mean()
    assert robust == pytest.approx(expected, abs=0.03)
