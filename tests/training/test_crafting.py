"""The examples that training crafts, and its losses on them."""

import keras
import numpy as np
import pytest
from scipy.stats import kstest

from advkeras.datasets import MNIST
from advkeras.models import architectures
from advkeras.searches.gradients import divergence
from advkeras.training.adversarial_training import AdversarialTraining, TrainingAttack


def test_crafted_examples_stay_in_the_ball_and_raise_the_loss(sample, small):
    keras.utils.set_random_seed(0)
    model = AdversarialTraining(
        architectures.build("madry-mnist", MNIST),
        bounds=(0.0, 1.0),
        attack=TrainingAttack(epsilon=0.2, step=0.4, iterations=4),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss)
    images, labels = sample.images[:64], sample.labels[:64]
    crafted = model.craft(images, labels).numpy()
    assert np.abs(crafted - images).max() <= 0.2 + 1e-6
    assert crafted.min() >= 0
    assert crafted.max() <= 1
    assert loss(labels, model(crafted)) > loss(labels, model(images))


@pytest.mark.parametrize("trades_weight", [None, 6.0])
def test_crafting_changes_nothing_of_the_network(trades_weight):
    """Batch normalisation sees each batch once: the examples trained on, and what TRADES compares them with."""
    keras.utils.set_random_seed(0)
    normalisation = keras.layers.BatchNormalization(momentum=0.5)
    network = keras.Sequential([keras.Input((2, 3, 1)), keras.layers.Flatten(), normalisation, keras.layers.Dense(3)])
    model = AdversarialTraining(
        network,
        bounds=(0.0, 1.0),
        attack=TrainingAttack(epsilon=0.2, step=0.4, iterations=3, ramp_steps=0, trades_weight=trades_weight),
    )
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).uniform(0, 1, (16, 2, 3, 1)).astype(np.float32)
    labels = np.arange(16, dtype=np.int32) % 3
    model.prepare(images, labels)
    examples = model.craft(images, labels).numpy()
    np.testing.assert_array_equal(normalisation.moving_mean, 0)
    model.train_step((images, labels))
    seen = examples if trades_weight is None else np.concatenate([images, examples])
    np.testing.assert_allclose(normalisation.moving_mean, seen.reshape(-1, 6).mean(axis=0) / 2, atol=1e-5)


def test_examples_start_anywhere_in_the_ball_and_move_by_a_share_of_it(sample, small):
    images, labels = np.full((8, 28, 28, 1), 0.5, np.float32), sample.labels[:8]

    def moved(step):
        keras.utils.set_random_seed(0)
        attack = TrainingAttack(epsilon=0.2, step=step, iterations=1)
        model = AdversarialTraining(architectures.build("madry-mnist", MNIST), bounds=(0.0, 1.0), attack=attack)
        model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model.craft(images, labels).numpy() - images

    start = moved(0.0)
    assert kstest(start.ravel(), "uniform", args=(-0.2, 0.4)).pvalue > 1e-4
    assert np.abs(moved(0.25) - start).max() == pytest.approx(0.25 * 0.2, rel=1e-3)


def test_every_step_starts_somewhere_else(sample, small):
    keras.utils.set_random_seed(0)
    model = AdversarialTraining(
        architectures.build("madry-mnist", MNIST),
        bounds=(0.0, 1.0),
        attack=TrainingAttack(epsilon=0.2, step=0.01, iterations=1, ramp_steps=0),
    )
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = np.full((4, 28, 28, 1), 0.5, np.float32), sample.labels[:4]
    model.prepare(images, labels)
    crafted = []
    for step in range(3):
        model.optimizer.iterations.assign(step)
        crafted.append(model.craft(images, labels).numpy() - images)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert abs(np.corrcoef(crafted[one].ravel(), crafted[other].ravel())[0, 1]) < 0.1
    # Nor do a batch's images start alike.
    assert abs(np.corrcoef(crafted[0][0].ravel(), crafted[0][1].ravel())[0, 1]) < 0.2


def test_trades_crafts_examples_whose_answers_diverge(sample, small):
    keras.utils.set_random_seed(0)
    network = architectures.build("madry-mnist", MNIST)
    model = AdversarialTraining(
        network,
        bounds=(0.0, 1.0),
        attack=TrainingAttack(epsilon=0.2, step=0.4, iterations=4, trades_weight=6.0),
    )
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = sample.images[:64], sample.labels[:64]
    reference, crafted = network(images), model.craft(images, labels)
    noise = np.clip(images + np.random.default_rng(0).uniform(-0.2, 0.2, images.shape), 0, 1).astype(np.float32)
    diverged, of_noise = (divergence(network(points), reference).numpy() for points in (crafted, noise))
    assert (diverged > of_noise).mean() > 0.95
    # Whatever the labels are.
    np.testing.assert_array_equal(model.craft(images, (labels + 1) % 10), crafted)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("weights", [None, np.linspace(0, 2, 32, dtype=np.float32)], ids=["plain", "weighted"])
def test_the_loss_of_trades_is_cross_entropy_and_divergence(sample, small, monkeypatch, replicas, weights):
    """Of several replicas each has its share of the loss."""
    keras.utils.set_random_seed(0)
    network = architectures.build("madry-mnist", MNIST)
    attack = TrainingAttack(epsilon=0.2, step=0.4, iterations=4, trades_weight=6.0)
    model = AdversarialTraining(network, bounds=(0.0, 1.0), attack=attack)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss)
    images, labels = sample.images[:32], sample.labels[:32]
    natural, crafted = network(images), network(model.craft(images, labels))
    monkeypatch.setattr(AdversarialTraining, "replicas", replicas)
    each = divergence(crafted, natural) * (1.0 if weights is None else weights)
    expected = replicas * loss(labels, natural, sample_weight=weights) + 6.0 * np.mean(each)
    assert float(model.train_step((images, labels, weights))["loss"]) == pytest.approx(float(expected), rel=1e-4)


def test_divergence_is_known_in_closed_form():
    reference, other = np.log([[0.5, 0.5]]).astype(np.float32), np.log([[0.9, 0.1]]).astype(np.float32)
    expected = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert divergence(other + 3.0, reference).numpy() == pytest.approx(expected, rel=1e-5)
    assert divergence(reference, reference).numpy() == pytest.approx(0.0, abs=1e-7)


def test_epsilon_grows_over_the_ramp(sample, small):
    model = AdversarialTraining(
        architectures.build("madry-mnist", MNIST),
        bounds=(0.0, 1.0),
        attack=TrainingAttack(epsilon=0.3, step=1.0, iterations=3, ramp_steps=10),
    )
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = sample.images[:16], sample.labels[:16]
    for taken, share in ((0, 0.1), (4, 0.5), (9, 1.0), (50, 1.0)):
        model.optimizer.iterations.assign(taken)
        reach = np.abs(model.craft(images, labels).numpy() - images).max()
        assert reach == pytest.approx(0.3 * share, rel=1e-3)
