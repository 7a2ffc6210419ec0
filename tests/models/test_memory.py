import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import DecoupledSearch, OptMargin
from advkeras.errors import InvalidInputError
from advkeras.limits import parse_size
from advkeras.models import Classifier, memory
from advkeras.models.turns import in_turns

MIB = 2**20
SHAPE = (16, 16, 1)


@pytest.fixture(autouse=True)
def own_budget():
    yield
    memory.set_budget(None)


def wasteful(mebibytes: float) -> Classifier:
    """Two classes by the mean of the pixels, by way of two values of so many MiB for each image."""
    copies = int(mebibytes * MIB / 4)

    def logits(images):
        mean = tf.reduce_mean(images, axis=[1, 2, 3])
        once = tf.math.sin(mean[:, None] * tf.ones((copies,)))
        twice = tf.math.sin(once)
        total = tf.reduce_mean(twice, axis=1)
        return tf.stack([total, 0.4 - total], axis=1)

    return Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="wasteful")


@pytest.mark.parametrize(
    ("size", "expected"),
    [("2GB", 2 * 2**30), ("1.5 GiB", 3 * 2**29), ("800mb", 800 * MIB), ("64K", 65_536), (4096, 4096), ("10B", 10)],
)
def test_sizes(size, expected):
    assert parse_size("memory", size) == expected


@pytest.mark.parametrize("size", ["much", "", "-2GB", "0", "0.1B", "2 GB of it", "2PB", "inf", "9" * 400])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(InvalidInputError, match="memory is a size like 2GB"):
        memory.set_budget(size)
    assert memory.budget() > 0


def test_the_budget_is_at_most_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "_free", lambda: 3 * 2**30)
    monkeypatch.setattr(memory, "_on_gpu", lambda: False)
    assert memory.budget() == 3 * 2**29
    monkeypatch.setattr(memory, "_free", lambda: 300 * 2**30)
    assert memory.budget() == 2 * 2**30
    memory.set_budget("5GB")
    assert memory.budget() == 5 * 2**30


def test_a_container_has_no_more_than_its_limit(monkeypatch, tmp_path):
    (tmp_path / "max").write_text(f"{500 * MIB}\n")
    (tmp_path / "current").write_text(f"{200 * MIB}\n")
    monkeypatch.setattr(memory, "_LIMITS", ((tmp_path / "max", tmp_path / "current"),))
    assert memory._free() == 300 * MIB
    (tmp_path / "max").write_text("max\n")
    assert memory._free() > 300 * MIB


def test_what_an_image_needs_is_measured():
    # An image's gradient keeps at least two values of 40 MiB, and hardly more than six. Smaller ones a process that has
    # run for long may keep where it has freed others.
    memory.set_budget("800MB")
    assert 800 // (6 * 40) <= wasteful(40).at_once <= 800 // (2 * 40)
    memory.set_budget("40MB")
    assert wasteful(40).at_once == 1


def test_small_networks_take_full_batches(natural):
    assert natural.at_once == memory.most() == natural.counted.at_once


def test_the_numbers_do_not_depend_on_the_budget():
    images = np.random.default_rng(0).uniform(0.35, 0.65, (3, *SHAPE)).astype(np.float32)
    found = []
    for size in ("2GB", "300KB"):
        memory.set_budget(size)
        classifier = wasteful(0.1)
        assert (classifier.at_once < 4) == (size == "300KB")
        labels = classifier.predict(images)
        attack = OptMargin(member_rms=0.05, ensemble_size=7, search=DecoupledSearch(gradients=70))
        found.append(attack(classifier, images, labels))
    assert all(result.success.all() for result in found)
    np.testing.assert_allclose(found[0].distortion, found[1].distortion, rtol=1e-3)


@pytest.mark.parametrize(("count", "at_once"), [(7, 3), (6, 3), (1, 3), (2, 1)])
def test_turns_give_the_same_and_no_more_at_once(count, at_once):
    sizes = []
    weights = tf.constant(np.random.default_rng(1).standard_normal((256, 3)), tf.float32)

    def function(images):
        noted = tf.numpy_function(lambda size: (sizes.append(int(size)), size)[1], [tf.shape(images)[0]], tf.int32)
        with tf.control_dependencies([noted]):
            return tf.sin(tf.reshape(images, (-1, 256)) @ weights)

    images = tf.constant(np.random.default_rng(2).standard_normal((count, *SHAPE)), tf.float32)

    def both(function):
        def logits_and_gradient():
            with tf.GradientTape() as tape:
                tape.watch(images)
                logits = function(images)
                value = tf.reduce_sum(logits**2)
            return logits, tape.gradient(value, images)

        return tf.function(logits_and_gradient, autograph=False)()

    expected = both(function)
    sizes.clear()
    answers = both(in_turns(function, at_once, of=count))
    assert max(sizes) <= at_once
    for answer, right in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, right, rtol=1e-4, atol=1e-3)
