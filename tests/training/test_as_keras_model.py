"""Adversarial training as any other Keras model: what fit, train_on_batch, checkpoints and saving take."""

import keras
import numpy as np
import pytest

from advkeras.training.adversarial_training import AdversarialTraining, TrainingAttack

from ..grids import grid

SHAPE, CLASSES, COUNT = (4, 3, 1), 3, 20
ATTACK = TrainingAttack(epsilon=0.1, step=0.4, iterations=2)
TRADES = TrainingAttack(epsilon=0.1, step=0.4, iterations=2, trades_weight=6.0)
DEFENSES, IDS = (None, ATTACK, TRADES), ("none", "pgd", "trades")
IMAGES = np.random.default_rng(0).uniform(0, 1, (COUNT, *SHAPE)).astype(np.float32)
LABELS = (np.arange(COUNT) % CLASSES).astype(np.int32)


def model(attack=ATTACK, bounds=(0.0, 1.0), loss=None, **options):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(1 / bounds[1]),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )
    built = AdversarialTraining(network, bounds=bounds, attack=attack)
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    built.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, **{"metrics": ["accuracy"], **options})
    return built


def weights(trained):
    return trained.network.get_weights()[0]


def fitted(images=IMAGES, labels=LABELS, *, attack=ATTACK, loss=None, bounds=(0.0, 1.0), **options):
    trained = model(attack, loss=loss, bounds=bounds)
    trained.fit(images, labels, batch_size=10, epochs=2, shuffle=False, verbose=0, **options)
    return weights(trained)


@pytest.mark.parametrize(("attack",), grid(DEFENSES, fast=[(ATTACK,)]), ids=IDS)
def test_weights_of_images_are_those_of_as_many_copies(attack):
    """An image of weight 2 counts twice, one of weight 0 not at all; class weights likewise."""
    by_class = {0: 1.0, 1: 2.0, 2: 0.0}
    by_image = np.array([by_class[label] for label in LABELS], np.float32)
    plain = fitted(attack=attack)
    weighted = fitted(attack=attack, sample_weight=by_image)
    assert np.abs(weighted - plain).max() > 1e-3
    np.testing.assert_allclose(fitted(attack=attack, class_weight=by_class), weighted, atol=1e-6)
    np.testing.assert_allclose(fitted(attack=attack, sample_weight=np.ones(COUNT)), plain, atol=1e-6)
    other = LABELS.copy()
    other[LABELS == 2] = 0  # of weight 0: whatever they are
    if attack is None:
        np.testing.assert_allclose(fitted(labels=other, attack=attack, sample_weight=by_image), weighted, atol=1e-6)


@pytest.mark.parametrize(("attack",), grid(DEFENSES, fast=[(ATTACK,)]), ids=IDS)
def test_labels_may_be_a_column_or_one_hot(attack):
    plain = fitted(attack=attack)
    np.testing.assert_allclose(fitted(labels=LABELS[:, None], attack=attack), plain, atol=1e-6)
    one_hot, of_rows = np.eye(CLASSES, dtype=np.float32)[LABELS], keras.losses.CategoricalCrossentropy(from_logits=True)
    np.testing.assert_allclose(fitted(labels=one_hot, attack=attack, loss=of_rows), plain, atol=1e-6)


def test_images_of_whole_numbers_are_trained_on():
    bytes_of = np.round(255 * IMAGES).astype(np.uint8)
    attack = TrainingAttack(epsilon=25.0, step=0.4, iterations=2)
    plain = fitted(bytes_of.astype(np.float32), attack=attack, bounds=(0.0, 255.0))
    np.testing.assert_allclose(fitted(bytes_of, attack=attack, bounds=(0.0, 255.0)), plain, atol=1e-6)


def test_a_batch_alone_is_a_step_of_fit():
    one, other = model(), model()
    one.fit(IMAGES, LABELS, batch_size=COUNT, shuffle=False, verbose=0)
    found = other.train_on_batch(IMAGES, LABELS, return_dict=True)
    np.testing.assert_allclose(weights(other), weights(one), atol=1e-6)
    assert set(found) == {"loss", "accuracy"}
    evaluated = other.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert other.test_on_batch(IMAGES, LABELS, return_dict=True)["loss"] == pytest.approx(evaluated["loss"], rel=1e-5)
    assert other.predict_on_batch(IMAGES).shape == (COUNT, CLASSES)


@pytest.mark.parametrize("attack", DEFENSES, ids=IDS)
def test_the_loss_of_an_epoch_is_the_mean_over_its_images(attack):
    """The last batch has 2 images, and the others 6."""
    trained = model(attack)
    trained.optimizer.learning_rate = 0.0
    losses = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    history = trained.fit(IMAGES, LABELS, batch_size=6, shuffle=False, verbose=0, callbacks=[note])
    # Keras tells the mean so far after each batch; the means of the batches follow from them.
    so_far = np.array([0.0, *losses]) * np.array([0, 6, 12, 18, 20])
    of_batches = np.diff(so_far) / [6, 6, 6, 2]
    assert history.history["loss"][0] == pytest.approx((of_batches * [6, 6, 6, 2]).sum() / COUNT)
    # Nothing is crafted where there is no attack, so the mean is known.
    if attack is None:
        logits = trained.predict(IMAGES, verbose=0)
        each = keras.losses.sparse_categorical_crossentropy(LABELS, logits, from_logits=True)
        assert history.history["loss"][0] == pytest.approx(float(np.mean(each)), rel=1e-5)


def test_metrics_of_weighted_images_are_weighted():
    trained = model(None, weighted_metrics=["accuracy"], metrics=[])
    right = trained.predict(IMAGES, verbose=0).argmax(axis=1) == LABELS
    trained.optimizer.learning_rate = 0.0
    history = trained.fit(IMAGES, LABELS, sample_weight=right + 0.0, batch_size=COUNT, verbose=0).history
    assert history["accuracy"][0] == pytest.approx(1.0)


@pytest.mark.parametrize("attack", DEFENSES, ids=IDS)
def test_it_is_saved_loaded_and_trained_on(attack, tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    trained = model(attack)
    trained.fit(IMAGES, LABELS, batch_size=10, epochs=2, shuffle=False, verbose=0, callbacks=[checkpoint])
    loaded = keras.models.load_model(tmp_path / "1.keras")
    assert (loaded.attack, loaded.bounds) == (attack, (0.0, 1.0))
    loaded.fit(IMAGES, LABELS, batch_size=10, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights(loaded), weights(trained), atol=1e-6)
    trained.save_weights(tmp_path / "mine.weights.h5")
    other = model(attack)
    other.load_weights(tmp_path / "mine.weights.h5")
    np.testing.assert_array_equal(weights(other), weights(trained))
