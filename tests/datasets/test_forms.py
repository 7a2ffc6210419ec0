"""Data as people keep them: each form is read as the plain .npz of the same images, or refused in one line."""

import csv

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from advkeras import datasets
from advkeras.errors import InvalidInputError

from ..commands import error_of, run

NAMES = ("cat", "dog", "emu")
GENERATOR = np.random.default_rng(0)
COLOUR = GENERATOR.integers(0, 256, (12, 4, 6, 3), dtype=np.uint8)
GREY = GENERATOR.integers(0, 256, (12, 5, 5, 1), dtype=np.uint8)
# The largest is there, so that 16 bits are used in full.
COLOUR[0, 0, 0], GREY[0, 0, 0] = 255, 255
LABELS = np.arange(12) % 3
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
UNIT = (0.0, 1.0)


def npz(folder, **arrays):
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def npy(folder, images, labels):
    np.save(folder / "x.npy", images)
    np.save(folder / "y.npy", labels)
    return folder / "x.npy"


def hdf5(folder, names=("images", "labels")):
    with h5py.File(folder / "mine.h5", "w") as file:
        file[names[0]], file[names[1]] = COLOUR, LABELS
    return folder / "mine.h5"


def pixels_csv(folder, images, *, place=0, heading="label"):
    with (folder / "mine.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        rows = [list(row) for row in images.reshape(len(images), -1)]
        names = [f"pixel{number}" for number in range(len(rows[0]))]
        writer.writerow([*names[:place], heading, *names[place:]])
        writer.writerows([*row[:place], label, *row[place:]] for row, label in zip(rows, LABELS, strict=True))
    return folder / "mine.csv"


def pictures(folder, images=COLOUR, *, names=NAMES, suffix=".png", deeper="", save=None):
    """A subfolder for each class. The pictures are shuffled when they are read, so each says which it is."""
    for number, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        path = folder / "pictures" / names[label] / deeper / f"{number:02}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        (save or (lambda picture, path: picture.save(path)))(picture, path)
    return folder / "pictures"


def converted(mode):
    return lambda picture, path: picture.convert(mode).save(path)


def flat(folder, rows, heading=("name", "label")):
    (folder / "flat").mkdir()
    for number, image in enumerate(COLOUR):
        Image.fromarray(image).save(folder / "flat" / f"{number}.png")
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([*([heading] if heading else []), *rows])
    return folder / "flat", {"labels": folder / "labels.csv"}


def sixteen_bits(folder):
    def save(picture, path):
        Image.fromarray(np.asarray(picture).astype(np.uint16) * 257).save(path)

    return pictures(folder, GREY, save=save)


def beside_rubbish(folder):
    """A folder as a file manager leaves it."""
    root = pictures(folder)
    (root / "cat" / "Thumbs.db").write_bytes(b"no picture")
    (root / "cat" / "._00.png").write_bytes(b"no picture")
    (root / ".git").mkdir()
    return root


def two_parts(folder):
    """Training and test images under Keras's own names."""
    return npz(folder, x_train=COLOUR[:1], y_train=LABELS[:1], x_test=COLOUR, y_test=LABELS)


FORMS = {
    # Names of arrays.
    "images, labels": lambda folder: npz(folder, images=COLOUR, labels=LABELS),
    "x, y": lambda folder: npz(folder, x=COLOUR, y=LABELS),
    "X, Y": lambda folder: npz(folder, X=COLOUR, Y=LABELS),
    "arr_0, arr_1": lambda folder: npz(folder, arr_0=COLOUR, arr_1=LABELS),
    "x_test, y_test alone": lambda folder: npz(folder, x_test=COLOUR, y_test=LABELS),
    "train and test": two_parts,
    "test_images, test_labels": lambda folder: npz(folder, test_images=COLOUR, test_labels=LABELS),
    "image, label": lambda folder: npz(folder, image=COLOUR, label=LABELS),
    "named by the user": lambda folder: (npz(folder, a=LABELS, b=COLOUR), {"arrays": ("b", "a")}),
    # Labels.
    "a column of labels": lambda folder: npz(folder, images=COLOUR, labels=LABELS[:, np.newaxis]),
    "one-hot": lambda folder: npz(folder, images=COLOUR, labels=ONE_HOT),
    "one-hot booleans": lambda folder: npz(folder, images=COLOUR, labels=ONE_HOT.astype(bool)),
    "whole floats": lambda folder: npz(folder, images=COLOUR, labels=LABELS.astype(float)),
    "labels of 64 bits": lambda folder: npz(folder, images=COLOUR, labels=LABELS.astype(np.uint64)),
    "names": lambda folder: npz(folder, images=COLOUR, labels=np.array(NAMES)[LABELS]),
    "bytes": lambda folder: npz(folder, images=COLOUR, labels=np.array(NAMES, "S")[LABELS]),
    "numbers as text": lambda folder: npz(folder, images=COLOUR, labels=LABELS.astype(str)),
    # Pixels.
    "(N, H, W)": lambda folder: npz(folder, images=GREY[..., 0], labels=LABELS),
    "(N, C, H, W)": lambda folder: npz(folder, images=np.moveaxis(COLOUR, 3, 1), labels=LABELS),
    "int64": lambda folder: npz(folder, images=COLOUR.astype(np.int64), labels=LABELS),
    "uint16 of 8 bits": lambda folder: npz(folder, images=COLOUR.astype(np.uint16), labels=LABELS),
    "uint16 of 16 bits": lambda folder: npz(folder, images=COLOUR.astype(np.uint16) * 257, labels=LABELS),
    "float64 of 0 to 255": lambda folder: npz(folder, images=COLOUR.astype(float), labels=LABELS),
    "float32 within the bounds": lambda folder: npz(folder, images=COLOUR.astype(np.float32) / 255, labels=LABELS),
    "float16 within the bounds": lambda folder: npz(folder, images=(GREY / 255).astype(np.float16), labels=LABELS),
    # Other files.
    ".npy": lambda folder: (npy(folder, COLOUR, LABELS), {"labels": folder / "y.npy"}),
    "HDF5": hdf5,
    "HDF5 with groups": lambda folder: (
        hdf5(folder, ("test/data", "test/class")),
        {"arrays": ("test/data", "test/class")},
    ),
    "CSV of pixels": lambda folder: pixels_csv(folder, GREY),
    "CSV of pixels, label last": lambda folder: pixels_csv(folder, GREY, place=25),
    "CSV of colours": lambda folder: (pixels_csv(folder, COLOUR), {"shape": (4, 6, 3)}),
    # Pictures.
    "PNG": pictures,
    "TIFF": lambda folder: pictures(folder, suffix=".tiff"),
    "BMP": lambda folder: pictures(folder, suffix=".bmp"),
    "WebP": lambda folder: pictures(
        folder, suffix=".webp", save=lambda picture, path: picture.save(path, lossless=True, exact=True)
    ),
    "grey PNG": lambda folder: pictures(folder, GREY),
    "grey BMP": lambda folder: pictures(folder, GREY, suffix=".bmp"),
    "grey GIF": lambda folder: (pictures(folder, GREY, suffix=".gif"), {"shape": (5, 5, 1)}),
    "RGBA where colours are wanted": lambda folder: (pictures(folder, save=converted("RGBA")), {"shape": (4, 6, 3)}),
    "grey pictures kept as colours": lambda folder: (
        pictures(folder, GREY, save=converted("RGB")),
        {"shape": (5, 5, 1)},
    ),
    "palette": lambda folder: (pictures(folder, GREY, save=converted("P")), {"shape": (5, 5, 1)}),
    "16 bits": sixteen_bits,
    "capital suffix": lambda folder: pictures(folder, suffix=".PNG"),
    "one level deeper": lambda folder: pictures(folder, deeper="session"),
    "rubbish beside": beside_rubbish,
    "flat with labels": lambda folder: flat(folder, [(f"{i}.png", NAMES[k]) for i, k in enumerate(LABELS)]),
    "flat with numbers": lambda folder: flat(folder, [(f"{i}.png", k) for i, k in enumerate(LABELS)], heading=None),
}


def assert_the_same(data, spec):
    expected = (COLOUR if spec.shape[2] == 3 else GREY) / 255
    assert spec.shape == expected.shape[1:]
    # Folders are shuffled.
    order = [int(np.abs(expected - image).reshape(12, -1).max(axis=1).argmin()) for image in data.images]
    assert sorted(order) == list(range(12))
    np.testing.assert_allclose(data.images, expected[order], atol=1e-3 if data.images.shape[1] == 5 else 1e-6)
    np.testing.assert_array_equal(data.labels, LABELS[order])


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read_as_the_plain_arrays(form, tmp_path):
    made = FORMS[form](tmp_path)
    path, said = made if isinstance(made, tuple) else (made, {})
    source = datasets.find(path, bounds=UNIT, **said)
    assert_the_same(source.load(), source.spec)
    assert source.spec.num_classes == 3


def test_booleans_are_black_and_white():
    for images in (GREY > 127, (GREY > 127).astype(np.uint8), (GREY > 127).astype(np.int64)):
        for bounds in ((0, 1), (-1.0, 1.0), None):
            low, high = bounds or (0, 255)
            data = datasets.from_arrays(images, LABELS, bounds=bounds).load()
            np.testing.assert_array_equal(data.images, np.where(GREY > 127, high, low))


def test_training_images_are_found_beside_those_to_test_on(tmp_path):
    source = datasets.find(two_parts(tmp_path), bounds=UNIT)
    training, test = source.training_and_test()
    assert (len(training), len(test)) == (1, 12)


def test_a_dataset_of_tensorflow_is_read_batched_or_not():
    whole = tf.data.Dataset.from_tensor_slices((COLOUR, LABELS))
    for dataset in (whole, whole.batch(5), whole.batch(5).map(lambda x, y: (tf.cast(x, tf.float32), tf.one_hot(y, 3)))):
        source = datasets.from_dataset(dataset, bounds=UNIT)
        assert_the_same(source.load(), source.spec)
    assert len(datasets.from_dataset(whole.batch(5), bounds=UNIT, examples=3).load()) == 3


def test_a_dataset_of_keras_has_its_names(tmp_path):
    dataset = keras.utils.image_dataset_from_directory(pictures(tmp_path), image_size=(4, 6), verbose=False)
    source = datasets.from_dataset(dataset, bounds=UNIT)
    assert source.spec.class_names == NAMES
    assert_the_same(source.load(), source.spec)


BAD = {
    "neither": (lambda folder: npz(folder, a=COLOUR, b=LABELS), r"--arrays IMAGES LABELS.*Received arrays: a, b"),
    "a name that is not there": (
        lambda folder: (npz(folder, a=COLOUR, b=LABELS), {"arrays": ("a", "c")}),
        "has no array 'c'. Received arrays: a, b",
    ),
    "flat images": (lambda folder: npz(folder, images=COLOUR.reshape(12, -1), labels=LABELS), "must have the shape"),
    "too few labels": (
        lambda folder: npz(folder, images=COLOUR, labels=LABELS[:5]),
        r"a label for each of 12 images. Received: \(5,\)",
    ),
    "soft labels": (lambda folder: npz(folder, images=COLOUR, labels=ONE_HOT / 2), "one-hot rows"),
    "labels between": (lambda folder: npz(folder, images=COLOUR, labels=LABELS + 0.5), "whole numbers from 0"),
    "negative labels": (lambda folder: npz(folder, images=COLOUR, labels=LABELS - 1), "whole numbers from 0"),
    "labels that are no numbers": (
        lambda folder: npz(folder, images=COLOUR, labels=np.full(12, np.nan)),
        "whole numbers from 0",
    ),
    "objects": (lambda folder: npz(folder, images=np.array([None] * 12), labels=LABELS), "pickles are never read"),
    "12 bits": (
        lambda folder: npz(folder, images=COLOUR.astype(np.uint16) * 16, labels=LABELS),
        "do not say what white is.*uint16",
    ),
    "text as images": (lambda folder: npz(folder, images=COLOUR.astype(str), labels=LABELS), "images must be numbers"),
    "complex numbers": (lambda folder: npz(folder, images=COLOUR * 1j, labels=LABELS), "images must be numbers"),
    "a .npy alone": (lambda folder: npy(folder, COLOUR, LABELS), "--labels LABELS.npy"),
    "a label that is no class": (
        lambda folder: (npz(folder, images=COLOUR, labels=np.array(NAMES)[LABELS]), {"class_names": ("cat", "dog")}),
        "the label 'emu' is none of the classes cat, dog",
    ),
    "a CSV without a label": (
        lambda folder: pixels_csv(folder, GREY, heading="a"),
        r"numpy.savez.*the first called 'a'",
    ),
    "a text as HDF5": (lambda folder: npz(folder, a=COLOUR).rename(folder / "mine.h5"), "no readable HDF5 file"),
    "labels of other pictures": (
        lambda folder: flat(folder, [("0.png", "cat"), ("99.png", "dog")]),
        "'99.png', which is no picture there",
    ),
}


@pytest.mark.parametrize("form", BAD)
def test_what_cannot_be_read_is_refused_in_a_line_that_is_right(form, tmp_path):
    make, message = BAD[form]
    made = make(tmp_path)
    path, said = made if isinstance(made, tuple) else (made, {})
    with pytest.raises(InvalidInputError, match=message) as refused:
        datasets.find(path, bounds=UNIT, **said).load()
    assert "\n" not in str(refused.value)


def test_classes_whose_names_are_numbers_are_in_the_order_of_text_which_is_said(tmp_path):
    root = pictures(tmp_path, names=("1", "2", "10"))
    data = datasets.find(root, bounds=UNIT).load()
    assert "0 is 1, 1 is 10, 2 is 2" in data.remarks[0]
    source = datasets.find(root, bounds=UNIT, class_names=("1", "2", "10"))
    assert_the_same(source.load(), source.spec)
    assert not source.load().remarks
    padded = datasets.find(pictures(tmp_path / "padded", names=("01", "02", "10")), bounds=UNIT).load()
    assert not padded.remarks


def test_an_empty_class_is_named(tmp_path):
    root = pictures(tmp_path)
    (root / "fox").mkdir()
    source = datasets.find(root, bounds=UNIT)
    assert source.spec.num_classes == 4
    assert source.load().remarks == ("no picture of the class fox",)


def test_broken_pictures_are_named_counted_and_left_out_if_that_is_wanted(tmp_path):
    root = pictures(tmp_path)
    (root / "cat" / "00.png").write_bytes(b"no picture")
    whole = (root / "dog" / "01.png").read_bytes()
    (root / "dog" / "01.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInputError, match=r"is no readable image: .*, and 1 more; --skip-broken"):
        datasets.find(root, bounds=UNIT, shape=(4, 6, 3)).load()
    data = datasets.find(root, bounds=UNIT, skip_broken=True).load()
    assert len(data) == 10
    assert "2 of 12 pictures left out: " in data.remarks[0]
    assert "cat/00.png" in data.remarks[0]


def test_pictures_that_lie_on_a_side_are_counted_and_turned_if_that_is_wanted(tmp_path):
    def turned(picture, path):
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        picture.rotate(90, expand=True).save(path, exif=exif)

    squares = np.repeat(GREY, 3, axis=3)
    root = pictures(tmp_path, squares, save=turned)
    data = datasets.find(root, bounds=UNIT).load()
    assert "12 of 12 pictures say in EXIF that they lie on a side, and are not turned" in data.remarks[0]
    source = datasets.find(root, bounds=UNIT, exif=True, shape=(5, 5, 1))
    assert_the_same(source.load(), source.spec)


def test_the_command_line_says_what_is_to_be_known_of_the_pictures(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "mine.keras")
    root = pictures(tmp_path, names=("1", "2", "10"))
    (root / "1" / "00.png").write_bytes(b"no picture")
    attack = ("attack", "fgsm", "--model", tmp_path / "mine.keras", "--bounds", 0, 1, "--output", tmp_path / "a.npz")
    assert "--skip-broken leaves such pictures out" in error_of(*attack, "--dataset", root)
    said = run(*attack, "--dataset", root, "--skip-broken").stderr
    assert "0 is 1, 1 is 10, 2 is 2" in said
    assert "1 of 12 pictures left out" in said
    arrays = npz(tmp_path, a=COLOUR, b=LABELS)
    run(*attack, "--dataset", arrays, "--arrays", "a", "b")


def test_pictures_are_scaled_as_keras_scales_them(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 31, 44, 3), np.uint8)
    for place, picture in enumerate(pixels):
        folder = tmp_path / "ab"[place % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{place}.png")
    data = datasets.find(tmp_path, bounds=(0.0, 255.0), shape=(12, 16, 3), resize=True).load()
    theirs = keras.utils.image_dataset_from_directory(tmp_path, image_size=(12, 16), shuffle=False, verbose=False)
    expected = np.concatenate([images for images, _ in theirs])
    # Ours are pictures of 8 bits again, in an order of their own.
    for image in data.images:
        assert np.abs(expected - image).reshape(4, -1).max(axis=1).min() <= 0.501
