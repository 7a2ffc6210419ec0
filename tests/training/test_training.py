"""Training: the recipe, what it leaves, and going on after a stop."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest

from advkeras.datasets import MNIST, LabelledImages
from advkeras.errors import AdvkerasError, InvalidInputError
from advkeras.models import Classifier, layout
from advkeras.training import distribution, run_state
from advkeras.training import trainer as run_training
from advkeras.training.batches import shuffled_batches
from advkeras.training.recipes import TrainingRecipe, batch_size_for
from advkeras.training.robust_validation import RobustValidation
from advkeras.training.trainer import train

from ..conftest import small_networks
from ..grids import grid


def parts(sample: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    return sample.where(np.arange(len(sample)) < 640), sample.where(np.arange(len(sample)) >= 880)


SHORT = {"epochs": 3, "learning_rate": 0.05}
PLAIN = TrainingRecipe.default(MNIST, "none", **SHORT)


@pytest.fixture(scope="module")
def plain_run(sample, tmp_path_factory):
    """A run of the plain recipe; tests that write into its folder get a copy."""
    with pytest.MonkeyPatch.context() as patch:
        small_networks(patch)
        return train(PLAIN, MNIST, *parts(sample), tmp_path_factory.mktemp("plain") / "mine", report=lambda _: None)


@pytest.mark.parametrize(("defense",), grid(("none", "pgd", "trades"), fast=[("pgd",), ("trades",)]))
def test_a_run_learns_and_leaves_a_model_with_its_card(tmp_path, sample, small, plain_run, defense):
    training, test = parts(sample)
    outcome, folder = plain_run, plain_run.folder.parent
    if defense != "none":
        recipe = TrainingRecipe.default(MNIST, defense, epsilon=0.02, ramp_epochs=1, **SHORT)
        folder = tmp_path / "mine"
        outcome = train(recipe, MNIST, training, test, folder, report=lambda _: None)
    assert outcome.folder == folder / "1"
    assert [entry["epoch"] for entry in outcome.card.history] == [0, 1, 2]
    assert outcome.card.history[-1]["loss"] < outcome.card.history[0]["loss"]
    assert outcome.card.accuracies["benign"]["rate"] > 0.5
    classifier = Classifier.load(folder)
    assert classifier.card == outcome.card
    assert classifier.card.checksum == layout.checksum(outcome.folder)
    measured = (classifier.predict(test.images) == test.labels).sum()
    assert measured == outcome.card.accuracies["benign"]["count"]
    assert any((folder / "training" / "logs").rglob("events*"))


def test_a_training_that_ends_in_nan_writes_nothing(tmp_path, sample, small):
    training, test = parts(sample)

    class Ruins(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.set_weights([np.full_like(each, np.nan) for each in self.model.get_weights()])

    with pytest.raises(AdvkerasError, match=r"ended in NaN in epoch 1: .*smaller --learning-rate and --no-resume$"):
        train(PLAIN, MNIST, training, test, tmp_path / "mine", callbacks=[Ruins()], report=lambda _: None)
    assert not (tmp_path / "mine" / "1").exists()


def test_training_goes_on_from_the_weights_of_a_saved_model(tmp_path, sample, small, plain_run):
    training, test = parts(sample)
    again = replace(PLAIN, epochs=1, learning_rate=1e-9, start=str(plain_run.folder.parent))
    second = train(again, MNIST, training, test, tmp_path / "second")
    assert second.card.accuracies["benign"] == plain_run.card.accuracies["benign"]
    with pytest.raises(InvalidInputError, match=r"has not the weights of the architecture small: expected small/"):
        train(replace(again, start="mnist-natural"), MNIST, training, test, tmp_path / "third")


def test_the_epoch_with_the_best_held_out_accuracy_is_kept_and_training_stops_early(tmp_path, sample, small):
    """A rate that soon destroys what was learnt: the best epoch is an early one."""
    training, test = parts(sample)
    recipe = TrainingRecipe.default(
        MNIST, "pgd", epochs=9, learning_rate=0.05, epsilon=0.02, ramp_epochs=0, validation=128, patience=2
    )

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch >= 3:
                self.model.network.layers[-1].bias.assign([50.0, *[0.0] * 9])

    outcome = train(recipe, MNIST, training, test, tmp_path, callbacks=[Spoil()], report=lambda _: None)
    robust = [epoch["val_robust_accuracy"] for epoch in outcome.card.history]
    assert len(robust) == np.argmax(robust) + 1 + 2 < 9
    assert outcome.card.data["images"] == 640 - 128
    assert outcome.card.accuracies["benign"]["rate"] > 0.5


def test_averaged_weights_are_validated_and_kept(tmp_path, sample, small):
    """With a momentum near 1 they lag far behind the last ones."""
    training, test = parts(sample)
    recipe = TrainingRecipe.default(MNIST, "none", epochs=2, learning_rate=0.05, batch_size=16, seed=3)
    last, averaged = (
        train(replace(recipe, average=average), MNIST, training, test, tmp_path / str(average), report=lambda _: None)
        for average in (0.0, 0.999)
    )
    assert last.card.history[-1]["loss"] == averaged.card.history[-1]["loss"]
    assert last.card.history[-1]["val_accuracy"] != averaged.card.history[-1]["val_accuracy"]
    kept = (Classifier.load(tmp_path / "0.999").predict(training.images[:500]) == training.labels[:500]).mean()
    assert averaged.card.history[-1]["val_accuracy"] == pytest.approx(kept, abs=1e-4)


def test_mixed_precision_leaves_a_model_of_full_precision(tmp_path, sample, small):
    training, test = parts(sample)
    recipe = TrainingRecipe.default(MNIST, "pgd", epochs=3, learning_rate=0.05, epsilon=0.02, precision="mixed")
    outcome = train(recipe, MNIST, training, test, tmp_path, report=lambda _: None)
    assert outcome.card.accuracies["benign"]["rate"] > 0.5
    assert Classifier.load(tmp_path).logits(test.images[:2]).dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"


def test_standard_augmentation_flips_and_shifts_within_the_bounds():
    images = np.zeros((64, 16, 16, 1), np.float32)
    images[:, 4:12, 4:7] = 1.0
    (batch, labels), *_ = shuffled_batches(images, np.arange(64), batch_size=64, seed=1, augmentation="standard")
    left = (batch.numpy()[:, :, :8].sum(axis=(1, 2, 3)) > batch.numpy()[:, :, 8:].sum(axis=(1, 2, 3))).mean()
    rows = {int(np.flatnonzero(image.sum(axis=(1, 2)))[0]) for image in batch.numpy()}
    assert 0.3 < left < 0.7
    assert rows == {2, 3, 4, 5, 6}
    assert set(np.unique(batch)) == {0.0, 1.0}
    assert sorted(labels.numpy()) == list(range(64))


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_schedules_end_at_0_and_reach_the_highest_rate(schedule):
    recipe = TrainingRecipe.default(MNIST, "none", epochs=10, learning_rate=0.3, schedule=schedule)
    rate = run_training._optimizer(recipe, 10)._learning_rate
    values = [float(rate(step)) for step in range(101)]
    assert max(values) == pytest.approx(0.3)
    assert min(values) >= 0
    assert int(np.argmax(values)) == (20 if schedule == "one-cycle" else 0)
    assert values[-1] == pytest.approx(0.0, abs=1e-6)


def test_the_rate_ends_at_0_with_the_last_step_of_a_run(tmp_path, sample, small):
    rates = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(watch.model.optimizer.learning_rate))
    )
    recipe = TrainingRecipe.default(MNIST, "none", epochs=2, learning_rate=0.05)
    train(recipe, MNIST, *parts(sample), tmp_path, callbacks=[watch], report=lambda _: None)
    assert max(rates) > 0.04
    assert min(rates) == rates[-1] == pytest.approx(0.0, abs=1e-6)


def test_a_run_that_was_stopped_goes_on_at_its_last_finished_epoch(tmp_path, sample, small):
    training, test = parts(sample)
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
    training, test = parts(sample)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    recipe = TrainingRecipe.default(MNIST, "none", epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, MNIST, training, test, tmp_path, callbacks=[Stop()], report=lambda _: None)
    for other, data in ((replace(recipe, seed=1), training), (recipe, training.first(600))):
        with pytest.raises(InvalidInputError, match="unfinished run of another recipe or of other images"):
            train(other, MNIST, data, test, tmp_path)
    assert train(recipe, MNIST, training, test, tmp_path, report=lambda _: None).folder.name == "1"


def test_a_second_run_in_the_same_folder_starts_from_the_beginning(tmp_path, sample, small, plain_run):
    shutil.copytree(plain_run.folder.parent, tmp_path, dirs_exist_ok=True)
    second = train(PLAIN, MNIST, *parts(sample), tmp_path, report=lambda _: None)
    assert (plain_run.folder.name, second.folder.name) == ("1", "2")
    assert [entry["epoch"] for entry in second.card.history] == [0, 1, 2]
    without_time = [
        [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in run.card.history]
        for run in (plain_run, second)
    ]
    assert without_time[0] == without_time[1]


class Kill(keras.callbacks.Callback):
    """Ends the process, so to speak, within the validation of an epoch or between its figures and its weights."""

    def __init__(self, epoch):
        super().__init__()
        self._epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self._epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("where",), grid(("validation", "figures", "weights"), fast=[("figures",)]))
def test_an_epoch_that_was_stopped_before_all_of_it_was_kept_is_trained_again(
    tmp_path, sample, small, plain_run, monkeypatch, where
):
    if where == "weights":
        monkeypatch.setattr(
            run_state.KeepWeights, "_keep", lambda self, epochs: (_ for _ in ()).throw(KeyboardInterrupt)
        )
    epochs = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    callbacks = [note, *([Kill(1)] if where == "figures" else [])]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if where == "validation":
            validated = RobustValidation.accuracies
            patch.setattr(
                RobustValidation,
                "accuracies",
                lambda self: validated(self) if len(epochs) < 1 else (_ for _ in ()).throw(KeyboardInterrupt),
            )
        train(PLAIN, MNIST, *parts(sample), tmp_path, callbacks=callbacks, report=lambda _: None)
    monkeypatch.undo()
    small_networks(monkeypatch)
    outcome = train(PLAIN, MNIST, *parts(sample), tmp_path, report=lambda _: None)
    # After a stop the batches come in another order.
    assert [set(epoch) for epoch in outcome.card.history] == [set(epoch) for epoch in plain_run.card.history]
    assert [epoch["epoch"] for epoch in outcome.card.history] == [0, 1, 2]
    rates = [run.card.accuracies["benign"]["rate"] for run in (outcome, plain_run)]
    assert rates[0] == pytest.approx(rates[1], abs=0.1)


def test_workers_go_on_from_an_epoch_that_all_of_them_have(tmp_path, sample, small, monkeypatch):
    recipe = replace(PLAIN, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, MNIST, *parts(sample), tmp_path, callbacks=[Kill(3)], report=lambda _: None)
    asked, seen = [], []

    def agreed(strategy, numbers, below):
        asked.append((numbers, below))
        return 2 if numbers == [0, 2, 3] else 0

    monkeypatch.setattr(distribution, "in_common", agreed)
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    outcome = train(recipe, MNIST, *parts(sample), tmp_path, callbacks=[watch], report=lambda _: None)
    assert asked == [([0], 1), ([0, 2, 3], 5)]
    assert seen == [2, 3]
    assert [epoch["epoch"] for epoch in outcome.card.history] == [0, 1, 2, 3]


def test_a_worker_begins_anew_when_the_chief_does(tmp_path, sample, small, monkeypatch):
    """It leaves the model, and what is finished, to the chief; what it keeps itself may belong to a finished run."""
    monkeypatch.setattr(distribution, "worker", lambda strategy: 1)
    begun = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch))

    def run(recipe):
        assert train(recipe, MNIST, *parts(sample), tmp_path, callbacks=[watch], report=lambda _: None) is None

    run(PLAIN)
    run(PLAIN)
    assert begun == [0, 1, 2]
    in_common = distribution.in_common
    chief = iter([-1])
    monkeypatch.setattr(distribution, "in_common", lambda *given: next(chief, None) or in_common(*given))
    run(replace(PLAIN, seed=1))
    assert begun == [0, 1, 2, 0, 1, 2]
    assert layout.versions(tmp_path) == []


def test_the_best_weights_stay_whole_when_better_ones_are_half_written(tmp_path, sample):
    state = run_state.RunState(tmp_path / "training", PLAIN, sample)
    best = run_state.KeepBest(state)

    class Model:
        weights, optimizer = (), None

        def save_weights(self, path):
            path.write_text(self.written)
            if self.written == "half":
                raise KeyboardInterrupt

    best.set_model(Model())
    for written, figure in (("first", 0.0), ("second", 0.5), ("worse", 0.2), ("as good", 0.5)):
        best.model.written = written
        best.on_epoch_end(0, {run_state.MONITORED: figure})
        state.history.append({run_state.MONITORED: figure})
    best.model.written = "half"
    with pytest.raises(KeyboardInterrupt):
        best.on_epoch_end(0, {run_state.MONITORED: 0.9})
    assert state.best.read_text() == "second"


def test_damaged_weights_of_the_last_epoch_are_those_of_the_one_before(tmp_path, sample, small, plain_run):
    with pytest.raises(KeyboardInterrupt):
        train(replace(PLAIN, epochs=4), MNIST, *parts(sample), tmp_path, callbacks=[Kill(3)], report=lambda _: None)
    kept = tmp_path / "training" / "epochs"
    assert sorted(path.name for path in kept.iterdir()) == ["2", "3"]
    (kept / "3" / "state.weights.h5").write_bytes(b"damaged")
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    train(replace(PLAIN, epochs=4), MNIST, *parts(sample), tmp_path, callbacks=[watch], report=lambda _: None)
    assert seen == [2, 3]


def test_a_run_whose_patience_has_run_out_is_not_trained_further_after_a_stop(tmp_path, sample, small, monkeypatch):
    recipe = TrainingRecipe.default(MNIST, "none", epochs=5, learning_rate=1e-9, validation=128, patience=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_training, "measure", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, MNIST, *parts(sample), tmp_path, report=lambda _: None)
    outcome = train(recipe, MNIST, *parts(sample), tmp_path, report=lambda _: None)
    assert [entry["epoch"] for entry in outcome.card.history] == [0, 1]


def test_a_stop_after_the_last_epoch_costs_no_training(tmp_path, sample, small, monkeypatch):
    training, test = parts(sample)
    recipe = TrainingRecipe.default(MNIST, "none", epochs=4, learning_rate=0.05)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("advkeras.training.trainer.measure", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, MNIST, training, test, tmp_path, report=lambda _: None)
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    outcome = train(recipe, MNIST, training, test, tmp_path, callbacks=[watch], report=lambda _: None)
    assert seen == []
    assert [entry["epoch"] for entry in outcome.card.history] == [0, 1, 2, 3]
    assert outcome.card.accuracies["benign"]["rate"] > 0.5


def test_held_out_images_are_not_trained_on(tmp_path, sample, small, monkeypatch):
    trained, validated = [], []

    def batches(images, labels, **settings):
        trained.append(images)
        return shuffled_batches(images, labels, **settings)

    class Validation(RobustValidation):
        def __init__(self, images, labels, **settings):
            validated.append(np.asarray(images))
            super().__init__(images, labels, **settings)

    monkeypatch.setattr(run_training, "shuffled_batches", batches)
    monkeypatch.setattr(run_training, "RobustValidation", Validation)
    training, test = parts(sample)
    recipe = TrainingRecipe.default(MNIST, "none", epochs=1, validation=128)
    train(recipe, MNIST, training, test, tmp_path, report=lambda _: None)
    np.testing.assert_array_equal(trained[0], training.images[:512])
    np.testing.assert_array_equal(validated[0], training.images[512:])


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


@pytest.mark.parametrize(("images", "batch_size"), [(1, 16), (360, 16), (2_000, 32), (3_000, 64), (50_000, 128)])
def test_few_images_are_trained_on_in_small_batches(images, batch_size):
    assert batch_size_for(images) == batch_size
