"""Training: the crafted examples, the recipe, resuming, and noticing a collapse."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from advkeras.datasets import MNIST, LabelledImages
from advkeras.defenses import robust_validation
from advkeras.defenses.adversarial_training import AdversarialTraining, TrainingAttack
from advkeras.defenses.recipes import TrainingRecipe
from advkeras.defenses.robust_validation import RobustValidation
from advkeras.defenses.training import train
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier, architectures, layout


@pytest.fixture
def small(monkeypatch) -> None:
    """A network that trains in a second, under the name of the real one."""

    def build(spec):
        return keras.Sequential(
            [
                keras.Input(spec.shape),
                keras.layers.MaxPooling2D(4),
                keras.layers.Flatten(),
                keras.layers.Dense(spec.num_classes),
            ],
            name="small",
        )

    monkeypatch.setitem(architectures._REGISTRY, "madry-mnist", build)


def halves(sample: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    return sample.where(np.arange(len(sample)) < 640), sample.where(np.arange(len(sample)) >= 640)


def test_madrys_network_has_the_published_size():
    assert architectures.build("madry-mnist", MNIST).count_params() == 3_274_634


@pytest.mark.parametrize("defense", ["none", "pgd"])
def test_a_run_learns_and_leaves_a_model_with_its_card(tmp_path, sample, small, defense):
    training, test = halves(sample)
    recipe = TrainingRecipe.default(MNIST, defense, epochs=3, learning_rate=0.05, epsilon=0.02, ramp_epochs=1)
    outcome = train(recipe, MNIST, training, test, tmp_path / "mine", report=lambda _: None)
    assert outcome.folder == tmp_path / "mine" / "1"
    assert [entry["epoch"] for entry in outcome.card.history] == [0, 1, 2]
    assert outcome.card.history[-1]["loss"] < outcome.card.history[0]["loss"]
    assert outcome.card.accuracies["benign"]["rate"] > 0.5
    classifier = Classifier.load(tmp_path / "mine")
    assert classifier.card == outcome.card
    assert classifier.card.checksum == layout.checksum(outcome.folder)
    measured = (classifier.predict(test.images) == test.labels).sum()
    assert measured == outcome.card.accuracies["benign"]["count"]
    assert any((tmp_path / "mine" / "training" / "logs").rglob("events*"))


def test_a_run_that_was_stopped_goes_on_at_its_last_finished_epoch(tmp_path, sample, small):
    training, test = halves(sample)
    recipe = TrainingRecipe.default(MNIST, "none", epochs=4)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() == 5 * 2 + 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, MNIST, training, test, tmp_path, callbacks=[Stop()], report=lambda _: None)
    assert layout.versions(tmp_path) == []
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    outcome = train(recipe, MNIST, training, test, tmp_path, callbacks=[watch], report=lambda _: None)
    assert seen == [2, 3]
    assert [entry["epoch"] for entry in outcome.card.history] == [0, 1, 2, 3]


def test_an_unfinished_run_is_not_continued_by_another_recipe(tmp_path, sample, small):
    training, test = halves(sample)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    recipe = TrainingRecipe.default(MNIST, "none", epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, MNIST, training, test, tmp_path, callbacks=[Stop()], report=lambda _: None)
    for other, data in ((replace(recipe, seed=1), training), (recipe, test)):
        with pytest.raises(InvalidInputError, match="unfinished run of another recipe or of other images"):
            train(other, MNIST, data, test, tmp_path)
    assert train(recipe, MNIST, training, test, tmp_path, report=lambda _: None).folder.name == "1"


def test_a_second_run_in_the_same_folder_starts_from_the_beginning(tmp_path, sample, small):
    training, test = halves(sample)
    recipe = TrainingRecipe.default(MNIST, "none", epochs=2)
    first, second = (train(recipe, MNIST, training, test, tmp_path, report=lambda _: None) for _ in range(2))
    assert (first.folder.name, second.folder.name) == ("1", "2")
    assert [entry["epoch"] for entry in second.card.history] == [0, 1]
    without_time = [
        [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in run.card.history]
        for run in (first, second)
    ]
    assert without_time[0] == without_time[1]


def test_a_stop_after_the_last_epoch_costs_no_training(tmp_path, sample, small, monkeypatch):
    training, test = halves(sample)
    recipe = TrainingRecipe.default(MNIST, "none", epochs=4, learning_rate=0.05)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("advkeras.defenses.training.measure", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, MNIST, training, test, tmp_path, report=lambda _: None)
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    outcome = train(recipe, MNIST, training, test, tmp_path, callbacks=[watch], report=lambda _: None)
    assert seen == []
    assert [entry["epoch"] for entry in outcome.card.history] == [0, 1, 2, 3]
    assert outcome.card.accuracies["benign"]["rate"] > 0.5


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


def test_senseless_recipes_are_refused(tmp_path, sample):
    few = replace(sample, images=sample.images[:5], labels=sample.labels[:5])
    for call, message in (
        (lambda: TrainingRecipe.default(MNIST, "magic"), "unknown defense 'magic'"),
        (lambda: TrainingRecipe.default(MNIST, "pgd", epsilon=-0.1), "epsilon=-0.1"),
        (lambda: TrainingRecipe.default(MNIST, "pgd", epochs=0), "epochs=0"),
        (lambda: TrainingRecipe.default(MNIST, "pgd", iterations=0), "iterations=0"),
        (lambda: TrainingRecipe.default(MNIST, "fast", step=-1.0), "step=-1.0"),
        (lambda: TrainingRecipe.default(MNIST, "none", seed=-1), "seed=-1"),
        (lambda: train(TrainingRecipe.default(MNIST, "none"), MNIST, few, few, tmp_path), "one batch"),
        (lambda: train(TrainingRecipe.default(MNIST, "none"), MNIST, sample, few, "/proc/nowhere"), "cannot write"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()
