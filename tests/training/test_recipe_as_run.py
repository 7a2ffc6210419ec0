"""That what is trained is what the recipe says: the attack, the optimiser, the precision, the batches."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.datasets import CIFAR10, MNIST
from advkeras.training import trainer as run_training
from advkeras.training.adversarial_training import TrainingAttack
from advkeras.training.batches import shuffled_batches
from advkeras.training.recipes import DEFENSES, TrainingRecipe

PLAIN = TrainingRecipe.default(MNIST, "none")


@pytest.mark.parametrize("defense", DEFENSES)
def test_the_recipe_says_how_examples_are_crafted(defense):
    recipe = TrainingRecipe.default(MNIST, defense)
    expected = TrainingAttack(
        epsilon=MNIST.epsilon,
        step=recipe.step,
        iterations=recipe.iterations,
        ramp_steps=50 * recipe.ramp_epochs,
        trades_weight=3.0 if defense == "trades" else None,
    )
    assert run_training._attack(recipe, 50) == (None if defense == "none" else expected)


def test_the_optimiser_is_the_recipes():
    recipe = TrainingRecipe.default(CIFAR10, "pgd")
    sgd = run_training._optimizer(recipe, 400)
    assert isinstance(sgd, keras.optimizers.SGD)
    assert (sgd.momentum, sgd.nesterov, sgd.weight_decay, sgd.use_ema) == (0.9, True, 5e-3, True)
    averaged = [run_training._optimizer(recipe, steps).ema_momentum for steps in (400, 10, 1)]
    assert averaged == pytest.approx([0.99, 0.8, 0.0])
    adam = run_training._optimizer(PLAIN, 5)
    assert isinstance(adam, keras.optimizers.Adam)
    assert (adam.weight_decay, adam.use_ema) == (None, False)


@pytest.mark.parametrize(
    ("precision", "on_gpu", "within"),
    [
        ("float32", True, "float32"),
        ("auto", False, "float32"),
        ("auto", True, "float16"),
        ("mixed", False, "bfloat16"),
        ("mixed", True, "float16"),
    ],
)
def test_a_network_computes_in_the_recipes_precision(small, monkeypatch, precision, on_gpu, within):
    gpus = ["a GPU"] if on_gpu else []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus if kind == "GPU" else [])
    model = run_training._model(replace(PLAIN, precision=precision), MNIST, 5)
    assert model.network.layers[-1].compute_dtype == within


def test_each_epoch_has_whole_batches_of_the_images_in_another_order():
    images = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)

    def orders(seed):
        batches = shuffled_batches(images, np.arange(10), batch_size=4, seed=seed)
        epochs = [
            [(batch.numpy().ravel().tolist(), labels.numpy().tolist()) for batch, labels in batches] for _ in "ab"
        ]
        assert all(batch == labels and len(labels) == 4 for epoch in epochs for batch, labels in epoch)
        return epochs

    first, second = orders(1)
    assert len(first) == len(second) == 2
    assert first != second
    assert orders(1) == [first, second] != orders(2)
