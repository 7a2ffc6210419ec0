"""Data sets by one word: registered ones, the user's own files, prepared sets of tensorflow-datasets."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from advkeras import datasets
from advkeras.errors import InvalidInputError


@pytest.fixture
def pictures():
    """Six pictures of each of three classes, in which the class can be read off a pixel."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (18, 4, 6, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(3), 6)
    images[:, 0, 0, 0] = labels
    return images, labels


@pytest.fixture
def folder(tmp_path, pictures):
    """The pictures, in a subfolder for each class."""
    root = tmp_path / "animals"
    for number, (image, label) in enumerate(zip(*pictures, strict=True)):
        path = root / ("cat", "dog", "emu")[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    return root


def test_a_registered_name_is_what_load_gives(sample):
    source = datasets.find("mnist", bounds=(-1, 1))
    assert source.spec.epsilon == 0.6
    np.testing.assert_allclose(source.load(examples=5).images, 2 * sample.images[:5] - 1, atol=1e-6)
    named = datasets.find("mnist", class_names=tuple("abcdefghij"))
    assert named.spec.class_names[9] == "j"
    with pytest.raises(InvalidInputError, match="mnist has 10 classes. Received: 2 names"):
        datasets.find("mnist", class_names=("a", "b"))


def test_an_npz_of_bytes_is_scaled_to_the_bounds(tmp_path, pictures):
    images, labels = pictures
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    source = datasets.find(tmp_path / "mine.npz", bounds=(-1.0, 1.0))
    data = source.load()
    np.testing.assert_allclose(data.images, images / 127.5 - 1.0, atol=1e-6)
    np.testing.assert_array_equal(data.labels, labels)
    assert (source.spec.name, source.spec.shape, source.spec.num_classes) == ("mine", (4, 6, 3), 3)
    assert source.spec.epsilon == pytest.approx(8 / 127.5)
    assert datasets.find(tmp_path / "mine.npz").spec.bounds == (0.0, 255.0)
    assert datasets.find(tmp_path / "mine.npz", num_classes=7).spec.num_classes == 7


def test_an_npz_of_floats_is_taken_as_it_is(tmp_path):
    np.savez(tmp_path / "mine.npz", images=np.full((3, 2, 2, 1), 0.5), labels=np.array([0, 1, 1]))
    np.testing.assert_array_equal(datasets.find(tmp_path / "mine.npz", bounds=(0, 1)).load().images, 0.5)
    with pytest.raises(InvalidInputError, match="give them .--bounds LOW HIGH"):
        datasets.find(tmp_path / "mine.npz")
    with pytest.raises(InvalidInputError, match=r"bounds are \[0, 0.1\], but pixels .* lie in \[0.5, 0.5\]"):
        datasets.find(tmp_path / "mine.npz", bounds=(0, 0.1)).load()
    with pytest.raises(InvalidInputError, match=r"labels must lie in 0...0, the classes. Received: 1"):
        datasets.find(tmp_path / "mine.npz", bounds=(0, 1), num_classes=1).load()


def test_damaged_npz_files_are_named(tmp_path):
    bad = {
        "Received arrays: images": {"images": np.zeros((3, 2, 2, 1))},
        "NaN or infinite ones in image 1": {
            "images": np.array([0, np.nan, np.inf]).reshape(3, 1, 1, 1),
            "labels": np.zeros(3, int),
        },
        "must have the shape": {"images": np.zeros((3, 4)), "labels": np.zeros(3, int)},
        "whole numbers": {"images": np.zeros((3, 2, 2, 1)), "labels": np.full(3, 0.5)},
        "numbers from 0": {"images": np.zeros((3, 2, 2, 1)), "labels": np.array([0, 1, 2**32 + 7])},
        "images must be numbers": {"images": np.full((3, 2, 2, 1), "x"), "labels": np.zeros(3, int)},
    }
    for message, arrays in bad.items():
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(InvalidInputError, match=message):
            datasets.find(tmp_path / "bad.npz", bounds=(0, 1))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InvalidInputError, match="no readable .npz file"):
        datasets.find(tmp_path / "text.npz")


def test_a_folder_has_a_class_for_each_subfolder(folder, pictures):
    source = datasets.find(folder)
    data = source.load()
    assert (source.spec.name, source.spec.class_names) == ("animals", ("cat", "dog", "emu"))
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], data.labels)
    assert sorted(data.images.sum(axis=(1, 2, 3))) == sorted(pictures[0].sum(axis=(1, 2, 3), dtype=float))
    assert len(set(source.load(examples=9).labels)) == 3
    np.testing.assert_array_equal(source.load(examples=9).images, data.images[:9])


def test_names_of_subfolders_give_their_order_and_others_are_shown(folder):
    assert datasets.find(folder, class_names=("Katze", "Hund", "Emu")).spec.class_names[0] == "Katze"
    source = datasets.find(folder, class_names=("emu", "dog", "cat"))
    data = source.load()
    assert source.spec.class_names == ("emu", "dog", "cat")
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], 2 - data.labels)
    with pytest.raises(InvalidInputError, match="animals has 3 classes. Received: 2 names of classes"):
        datasets.find(folder, class_names=("cat", "dog"))


def test_a_folder_may_have_a_part_to_train_on(folder, tmp_path):
    both = tmp_path / "both"
    both.mkdir()
    folder.rename(both / "train")
    (both / "val" / "dog").mkdir(parents=True)
    (both / "val" / "dog" / "a.PNG").write_bytes((both / "train" / "dog" / "7.png").read_bytes())
    training, test = datasets.find(both).training_and_test()
    assert (len(training), len(test), test.labels[0]) == (18, 1, 1)


def test_pictures_of_another_size_are_refused_or_scaled(folder):
    with pytest.raises(InvalidInputError, match=r"\(8, 8, 3\); --resize scales them. Received: \(4, 6, 3\)"):
        datasets.find(folder, shape=(8, 8, 3)).load()
    assert datasets.find(folder, shape=(8, 8, 3), resize=True).load().images.shape == (18, 8, 8, 3)
    assert datasets.find(folder, shape=(4, 6, 1)).load().images.shape == (18, 4, 6, 1)


def test_a_tenth_is_held_out_where_there_is_one_part(folder):
    training, test = datasets.find(folder).training_and_test()
    assert (len(training), len(test)) == (16, 2)
    together = np.concatenate([training.images, test.images]).sum(axis=(1, 2, 3))
    assert sorted(together) == sorted(datasets.find(folder).load().images.sum(axis=(1, 2, 3)))


def test_what_is_no_data_set_is_said(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (folder / "dog" / "8.png").write_bytes(b"no picture")
    for name, message in (
        ("cifar", "did you mean 'cifar10'.*tensorflow-datasets has prepared"),
        (tmp_path / "empty", "holds no images to classify.*Received: no subfolder"),
        (tmp_path / "gone.npz", "there is no file .*gone.npz"),
        (folder, "8.png is no readable image"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            datasets.find(name).load()


def test_a_folder_that_is_closed_is_one_line(folder, monkeypatch):
    """As another user's are."""
    opened = os.scandir

    def closed(place):
        if str(place) == str(folder / "dog"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return opened(place)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InvalidInputError, match="^cannot read .*dog: Permission denied$"):
        datasets.find(folder)
    monkeypatch.setattr(Path, "iterdir", lambda place: closed(folder / "dog"))
    with pytest.raises(InvalidInputError, match="^cannot read .*dog: Permission denied$"):
        datasets.find(folder)


def test_a_prepared_set_of_tfds_is_read_by_its_name(no_prepared_data, pictures):
    import tensorflow_datasets as tfds

    images, labels = pictures

    class TinyPets(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.2.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(4, 6, 3)),
                "label": tfds.features.ClassLabel(names=["cat", "dog", "emu"]),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _):
            return {"train": self._generate_examples(slice(0, 15)), "test": self._generate_examples(slice(15, 18))}

        def _generate_examples(self, part):
            for number, (image, label) in enumerate(zip(images[part], labels[part], strict=True)):
                yield number, {"image": image, "label": int(label)}

    TinyPets(data_dir=str(no_prepared_data)).download_and_prepare()
    source = datasets.find("tiny_pets", bounds=(0.0, 1.0))
    training, test = source.training_and_test()
    assert (len(training), len(test)) == (15, 3)
    assert source.spec.class_names == ("cat", "dog", "emu")
    assert set(test.labels) == {2}
    np.testing.assert_allclose(255 * training.images[:, 0, 0, 0], training.labels, atol=1e-4)
    assert len(source.load(split="train", examples=4)) == 4
