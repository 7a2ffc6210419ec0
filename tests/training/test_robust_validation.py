"""Validation under attack: its figure, and noticing a collapse."""

import keras
import pytest

from advkeras.datasets import MNIST
from advkeras.models import architectures
from advkeras.training import robust_validation
from advkeras.training.adversarial_training import AdversarialTraining, TrainingAttack
from advkeras.training.robust_validation import RobustValidation


@pytest.mark.parametrize(
    ("crafted", "robust", "epoch", "collapsed"),
    [(0.9, 0.06, 3, True), (0.9, 0.8, 3, False), (0.9, 0.06, 0, False), (0.1, 0.0, 3, False)],
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
    validation.on_epoch_end(epoch, logs)
    assert (logs["val_accuracy"], logs["val_robust_accuracy"]) == (0.98, robust)
    assert validation.collapsed == collapsed
    assert ["catastrophic overfitting" in line for line in lines] == [True] * collapsed


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
