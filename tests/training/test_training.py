"""Training: the crafted examples, the recipe, resuming, and noticing a collapse."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from advkeras.datasets import CIFAR10, MNIST, LabelledImages
from advkeras.datasets import registry as datasets
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier, architectures, layout
from advkeras.searches.gradients import divergence
from advkeras.training import robust_validation
from advkeras.training import trainer as run_training
from advkeras.training.adversarial_training import AdversarialTraining, TrainingAttack
from advkeras.training.batches import shuffled_batches
from advkeras.training.recipes import TrainingRecipe, batch_size_for
from advkeras.training.robust_validation import RobustValidation
from advkeras.training.trainer import train


@pytest.fixture
def small(monkeypatch) -> None:
    """A network that trains in a second, under the name of the real one."""

    def build(spec):
        return keras.Sequential(
            [
                keras.Input(spec.shape),
                keras.layers.MaxPooling2D(4),
                keras.layers.Flatten(),
                keras.layers.Dense(spec.num_classes, name="logits"),
            ],
            name="small",
        )

    monkeypatch.setitem(architectures._REGISTRY, "madry-mnist", build)


def halves(sample: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    return sample.where(np.arange(len(sample)) < 640), sample.where(np.arange(len(sample)) >= 640)


def test_madrys_network_has_the_published_size():
    assert architectures.build("madry-mnist", MNIST).count_params() == 3_274_634


def test_the_other_networks_have_the_sizes_that_are_stated():
    assert architectures.build("resnet-small", CIFAR10).count_params() == 909_290
    assert architectures.build("wrn-32-10", CIFAR10).count_params() == 45_924_346


@pytest.mark.parametrize("name", architectures.names())
def test_every_network_takes_any_image_in_its_own_unit(name):
    """Fixed or per-image standardisation is inside: the same picture in another unit gives the same logits."""
    keras.utils.set_random_seed(0)
    pictures = np.random.default_rng(0).uniform(0, 1, (2, 20, 24, 3)).astype(np.float32)
    answers, weights = [], None
    for low, high in ((0.0, 255.0), (-1.0, 1.0)):
        spec = datasets.own("mine", bounds=(low, high), shape=(20, 24, 3), class_names=("a", "b", "c"))
        network = architectures.build(name, spec)
        weights = weights or network.get_weights()
        network.set_weights(weights)
        answers.append(network(low + (high - low) * pictures).numpy())
    assert answers[0].shape == (2, 3)
    if name != "madry-mnist":  # which the paper feeds with pixels in [0, 1]
        np.testing.assert_allclose(answers[0], answers[1], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("defense", ["none", "pgd", "trades"])
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


def test_training_goes_on_from_the_weights_of_a_saved_model(tmp_path, sample, small):
    training, test = halves(sample)
    first = train(
        TrainingRecipe.default(MNIST, "none", epochs=3, learning_rate=0.05), MNIST, training, test, tmp_path / "first"
    )
    again = TrainingRecipe.default(MNIST, "none", epochs=1, learning_rate=1e-9, start=str(tmp_path / "first"))
    second = train(again, MNIST, training, test, tmp_path / "second")
    assert second.card.accuracies["benign"] == first.card.accuracies["benign"]
    with pytest.raises(InvalidInputError, match=r"has not the weights of the architecture small: expected small/"):
        train(replace(again, start="mnist-natural"), MNIST, training, test, tmp_path / "third")


def test_the_epoch_with_the_best_held_out_accuracy_is_kept_and_training_stops_early(tmp_path, sample, small):
    """A rate that soon destroys what was learnt: the best epoch is an early one."""
    training, test = halves(sample)
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
    training, test = halves(sample)
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
    training, test = halves(sample)
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
    assert int(np.argmax(values)) == (20 if schedule == "one-cycle" else 0)
    assert values[-1] == pytest.approx(0.0, abs=1e-6)


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
        patch.setattr("advkeras.training.trainer.measure", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
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


def test_crafting_changes_nothing_of_the_network():
    """Batch normalisation sees each batch once: the examples that are trained on."""
    keras.utils.set_random_seed(0)
    normalisation = keras.layers.BatchNormalization(momentum=0.5)
    network = keras.Sequential([keras.Input((2, 3, 1)), keras.layers.Flatten(), normalisation, keras.layers.Dense(3)])
    model = AdversarialTraining(
        network, bounds=(0.0, 1.0), attack=TrainingAttack(epsilon=0.2, step=0.4, iterations=3, ramp_steps=0)
    )
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).uniform(0, 1, (16, 2, 3, 1)).astype(np.float32)
    labels = np.arange(16, dtype=np.int32) % 3
    model.prepare(images, labels)
    examples = model.craft(images, labels).numpy()
    np.testing.assert_array_equal(normalisation.moving_mean, 0)
    model.train_step((images, labels))
    np.testing.assert_allclose(normalisation.moving_mean, examples.reshape(16, 6).mean(axis=0) / 2, atol=1e-5)


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
    training, test = halves(sample)
    recipe = TrainingRecipe.default(MNIST, "none", epochs=1, validation=128)
    train(recipe, MNIST, training, test, tmp_path, report=lambda _: None)
    np.testing.assert_array_equal(trained[0], training.images[:512])
    np.testing.assert_array_equal(validated[0], training.images[512:])


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


def test_the_loss_of_trades_is_cross_entropy_and_divergence(sample, small):
    keras.utils.set_random_seed(0)
    network = architectures.build("madry-mnist", MNIST)
    attack = TrainingAttack(epsilon=0.2, step=0.4, iterations=4, trades_weight=6.0)
    model = AdversarialTraining(network, bounds=(0.0, 1.0), attack=attack)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss)
    images, labels = sample.images[:32], sample.labels[:32]
    natural, crafted = network(images), network(model.craft(images, labels))
    expected = loss(labels, natural) + 6.0 * np.mean(divergence(crafted, natural))
    assert float(model.train_step((images, labels))["loss"]) == pytest.approx(float(expected), rel=1e-4)


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


@pytest.mark.parametrize(("images", "batch_size"), [(1, 16), (360, 16), (2_000, 32), (3_000, 64), (50_000, 128)])
def test_few_images_are_trained_on_in_small_batches(images, batch_size):
    assert batch_size_for(images) == batch_size
