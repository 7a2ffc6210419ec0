"""What every part of advkeras takes: a function from images to logits, with the facts that attacks need."""

import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.arrays import NO_CLASS, pixels_of
from advkeras.errors import InvalidInputError, require_increasing
from advkeras.models import loading, memory, outputs
from advkeras.models.card import ModelCard
from advkeras.models.intake import in_batches_of, require_image_shape
from advkeras.models.networks import Network, keras_network
from advkeras.models.number_types import scaled
from advkeras.models.pixel_grid import on_grid, settled_arrays
from advkeras.models.references import load_again, reference
from advkeras.models.usage import Preprocessing, Usage
from advkeras.parameters import WholeNumber, held

if TYPE_CHECKING:
    from advkeras.models.counted import CountedClassifier

LogitsFunction = Callable[[Any], Any]

_PROBE_IMAGES = 8


class Classifier:
    """An image classifier as it is deployed.

    Args:
        function: maps images (N, H, W, C) float32 to logits or probabilities (N, classes), or to the one logit or
            probability of the second of two classes, of any floating-point type; or to several outputs, in a dictionary
            or a sequence, of which one is that. Differentiable by TensorFlow. One that needs Python's control flow on
            tensors must be a ``tf.function`` itself.
        bounds: lowest and highest pixel value that the function takes.
        input_shape: height, width, channels.
        name: for tables and messages.
        source: where it was loaded from; None for a model built in memory.
        folder: the SavedModel's version folder, for a classifier that is one.
        model: the Keras model behind the function, for a classifier that has one.
        card: the model card, where there is one.
        threshold: the probability from which on the second of two classes is taken, for one output; a half by default.
        output_name: which of several outputs is taken, by its name or place; by default the one called ``logits``, or
            the only one with as many columns as classes.
        classes: how many there are, to tell outputs apart.
        levels: how many values a pixel of an example may have: 256, where examples are to exist as pictures of 8 bits;
            any number by default. Attacks search among such examples alone.
        batch: images that the function takes at once; any number by default.
        holding: the objects that the function's variables belong to, beside the model.

    Attributes:
        bounds: lowest and highest pixel value, two floats.
        input_shape: height, width, channels.
        num_classes: found out by running a few images through the function.
        reading: how logits are had from what the function returns, and whether that is random.
        usage: what was said of how the function is used; nothing for most.
        holding: the objects that the function's variables belong to, as far as they are known.
        differentiable: whether gradients by the pixels run through the function. They do not where it rounds them,
            or where, in a subclass, :meth:`logits` come from elsewhere.

    Raises:
        InvalidInputError: if the bounds are not increasing, the function does not take such images, or it returns
            something else than one row of logits or probabilities for each image.
        UnknownOutputError: if it returns several outputs that may be that.

    Example:
        >>> classifier = Classifier.load("mnist-natural")
        >>> classifier.predict(images)
        array([7, 2, 1, 0, 4], dtype=int32)
    """

    def __init__(
        self,
        function: LogitsFunction,
        *,
        bounds: tuple[float, float],
        input_shape: tuple[int, int, int],
        name: str,
        source: str | None = None,
        folder: Path | None = None,
        model: Any | None = None,
        card: ModelCard | None = None,
        threshold: float | None = None,
        output_name: str | None = None,
        classes: int | None = None,
        levels: int | None = None,
        batch: int | None = None,
        holding: Sequence[Any] = (),
    ) -> None:
        self.bounds = require_increasing(bounds)
        self.input_shape = require_image_shape("input_shape", input_shape)
        self.name = name
        self.source = source
        self.folder = folder
        self.model = model
        self.card = card
        self._graphs: dict[Hashable, Any] = {}
        self.holding = list(holding) if model is None else [model, *(each for each in holding if each is not model)]
        self.usage = Usage(threshold=threshold, output_name=output_name, classes=classes, levels=levels)
        self.levels = self.usage.levels
        probes = (batch or _PROBE_IMAGES, *self.input_shape)
        noise = np.random.default_rng(0).uniform(*self.bounds, probes).astype(np.float32)
        self.reading = outputs.read(function, noise, name=name, usage=self.usage, batch=batch)
        self.num_classes = int(self.reading.logits(tf.constant(noise)).shape[1])
        self._served = in_batches_of(self.reading.logits, batch) if batch else self.reading.logits
        logits = scaled(self.reading.logits, self.input_shape, batch, tf.constant(noise))
        self._function = in_batches_of(logits, batch) if batch else logits

    def __call__(self, images: Any) -> Any:
        """Logits (N, classes) float32 of images (N, H, W, C) float32, as tensors; usable inside a tf.function."""
        return self._function(images)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is where it was loaded from: another process loads it from there."""
        return load_again, reference(self)

    def __repr__(self) -> str:
        return (
            f"Classifier(name={self.name!r}, input_shape={self.input_shape}, "
            f"num_classes={self.num_classes}, bounds={self.bounds})"
        )

    @classmethod
    def from_keras(
        cls,
        model: Any,
        *,
        bounds: tuple[float, float],
        name: str | None = None,
        source: str | None = None,
        threshold: float | None = None,
        output_name: str | None = None,
        classes: int | None = None,
        shape: tuple[int, int, int] | None = None,
        channels_first: bool | None = None,
        preprocessing: Preprocessing | None = None,
        levels: int | None = None,
    ) -> "Classifier":
        """Wraps a Keras model that classifies images.

        Args:
            model: takes images in the unit that ``bounds`` gives.
            bounds: lowest and highest pixel value.
            name: the model's own name by default.
            source: where the model was loaded from.
            threshold: as for the class.
            output_name: as for the class.
            classes: as for the class.
            shape: height, width and channels of the images, for a model that leaves them open, or takes them flat.
            channels_first: whether the model takes images (N, C, H, W); found out by the number of channels by default.
            preprocessing: what is done to images before the model gets them: ``"caffe"``, ``"tf"`` or ``"torch"`` as in
                ``keras.applications``, or a differentiable TensorFlow function of images (N, H, W, C) float32.
            levels: as for the class.

        Raises:
            InvalidInputError: as for the class, or if the model takes no batch of images.
            UnknownOutputError: as for the class.
            UnknownShapeError: if it leaves their shape open, and none is given.
        """
        return cls._of(
            keras_network(model),
            bounds=bounds,
            name=name or model.name,
            source=source,
            model=model,
            usage=Usage(threshold, output_name, classes, shape, channels_first, preprocessing, levels),
        )

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        bounds: tuple[float, float] | None = None,
        threshold: float | None = None,
        output_name: str | None = None,
        classes: int | None = None,
        shape: tuple[int, int, int] | None = None,
        channels_first: bool | None = None,
        preprocessing: Preprocessing | None = None,
        levels: int | None = None,
        trust: bool = False,
    ) -> "Classifier":
        """Loads a classifier: a name of the zoo, a SavedModel's folder, or a file.

        Args:
            source: a zoo name, a SavedModel (a version's folder or the folder above the versions, of which the
                highest is taken), a .keras or .h5 file, or a LiteRT model (.tflite), which has no gradients.
            bounds: lowest and highest pixel value; those of the model card by default, and not other ones.
            threshold: as for the class.
            output_name: as for the class.
            classes: as for the class.
            shape: as for :meth:`from_keras`.
            channels_first: as for :meth:`from_keras`.
            preprocessing: as for :meth:`from_keras`.
            levels: as for the class.
            trust: run Python code that a Keras file holds, the function of a Lambda layer for example.

        Raises:
            InvalidInputError: if nothing can be loaded from there, no bounds are known, it is no classifier or not the
                one of its card, or it holds Python code and is not trusted.
            UnknownOutputError: as for the class.
            UnknownShapeError: as for :meth:`from_keras`.
        """
        usage = Usage(threshold, output_name, classes, shape, channels_first, preprocessing, levels, trust)
        network, facts = loading.found(source, bounds, usage)
        classifier = cls._of(network, **facts)
        if classifier.card:
            classifier.card.require_fit(classifier.input_shape, classifier.num_classes, str(source))
        return classifier

    @classmethod
    def _of(cls, network: Network, *, bounds: tuple[float, float], usage: Usage, **facts: Any) -> "Classifier":
        """A network as a classifier."""
        function, intake = network.on_images(bounds, usage)
        classifier = cls(
            function,
            bounds=bounds,
            input_shape=intake.shape,
            threshold=usage.threshold,
            output_name=usage.output_name,
            classes=usage.classes,
            levels=usage.levels or network.levels(bounds, usage),
            batch=intake.batch,
            holding=network.holding,
            **facts,
        )
        classifier.usage = usage
        return classifier

    def graph(
        self, key: Hashable, build: Callable[[], Any], signature: Sequence[Any], *, jit_compile: bool = False
    ) -> Any:
        """A compiled function that belongs to this classifier, built once for each key.

        Args:
            key: stands for all that the function depends on.
            build: returns the function, which uses TensorFlow's control flow and not Python's.
            signature: of its arguments.
            jit_compile: compile it by XLA.
        """
        if (key, jit_compile) not in self._graphs:
            # Nothing for AutoGraph to convert; looking for it takes seconds.
            self._graphs[key, jit_compile] = tf.function(
                build(), input_signature=signature, jit_compile=jit_compile, autograph=False
            )
        return self._graphs[key, jit_compile]

    def without_gradients(self) -> "Classifier":
        """The same classifier without what only its gradients need: as it is served."""
        served = object.__new__(type(self))
        vars(served).update(vars(self), _graphs={}, _function=self._served)
        return served

    @cached_property
    def differentiable(self) -> bool:
        """Whether gradients by the pixels run through the function; found out by trying."""
        image = tf.zeros((1, *self.input_shape)) + self.bounds[0]
        try:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(image)
                logits = self._function(image)
            return tape.gradient(logits, image) is not None
        except LookupError:  # an operation that TensorFlow has no gradient of
            return False

    @cached_property
    def at_once(self) -> int:
        """Images whose gradients the memory budget holds at once (:func:`advkeras.models.memory.set_budget`)."""
        if type(self).logits is not Classifier.logits:
            return memory.most()  # They come from elsewhere, and take no memory here.
        return memory.images_at_once(self._function, self.input_shape, gradients=self.differentiable)

    @cached_property
    def counted(self) -> "CountedClassifier":
        """The same classifier, counting what goes through it: what attacks work on, one at a time."""
        from advkeras.models.counted import CountedClassifier

        return CountedClassifier(self)

    def counting(self, rows: int, of: int) -> AbstractContextManager[None]:
        """For a :class:`CountedClassifier`, which counts so many of the rows of a batch; others count nothing."""
        return nullcontext()

    @property
    def image_signature(self) -> Any:
        """The signature (batch, H, W, C) float32 that compiled functions over this classifier share."""
        return tf.TensorSpec((None, *self.input_shape), tf.float32)

    def logits(self, images: npt.ArrayLike, *, batch_size: int | None = None) -> npt.NDArray[np.float32]:
        """Logits (N, classes) float32 of images (N, H, W, C), as arrays, in batches; of :attr:`at_once` by default.

        Raises:
            InvalidInputError: if the images are no numbers of the shape that the classifier takes. Pixels are not
                looked at: :meth:`check_images` does so.
        """
        function = self.graph("logits", lambda: self._function, [self.image_signature])
        array, size = pixels_of(images), held("batch_size", batch_size, WholeNumber | None) or self.at_once
        self.require_shape(array.shape)
        parts = [function(array[i : i + size]).numpy() for i in range(0, len(array), size)]
        return np.concatenate(parts) if parts else np.empty((0, self.num_classes), np.float32)

    def predict(self, images: npt.ArrayLike, *, batch_size: int | None = None) -> npt.NDArray[np.int32]:
        """Classes (N,) int32 of images (N, H, W, C); :data:`NO_CLASS` where a logit is NaN; as :meth:`logits` else."""
        logits = self.logits(images, batch_size=batch_size or self.at_once)
        return np.where(np.isnan(logits).any(axis=1), NO_CLASS, logits.argmax(axis=1)).astype(np.int32)

    def check_takes(
        self, shape: tuple[int, ...], bounds: tuple[float, float], num_classes: int, *, otherwise: str
    ) -> None:
        """Makes sure that the classifier takes images of a shape and bounds, and knows a number of classes.

        Args:
            shape: (H, W, C).
            bounds: lowest and highest pixel value.
            num_classes: number of classes.
            otherwise: what is wrong if not; the message begins with it.

        Raises:
            InvalidInputError: if not.
        """
        received, expected = (self.input_shape, self.bounds, self.num_classes), (shape, bounds, num_classes)
        if received != expected:
            raise InvalidInputError(
                f"{otherwise}: expected images of shape {expected[0]} in {list(expected[1])} and {expected[2]} "
                f"classes. Received: {self.name}, {received[0]} in {list(received[1])} and {received[2]} classes"
            )

    def require_shape(self, shape: Sequence[int | None]) -> None:
        """Refuses arrays of a shape that is not (N, H, W, C) of this classifier.

        Raises:
            InvalidInputError: says which shape it takes.
        """
        if len(shape) != 4 or tuple(shape[1:]) != self.input_shape:
            raise InvalidInputError(
                f"{self.name} takes images of shape (N, {', '.join(map(str, self.input_shape))}). "
                f"Received: {tuple(shape)}"
            )

    def check_images(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The images as (N, H, W, C) float32.

        Raises:
            InvalidInputError: if their shape is not this classifier's or a pixel lies outside its bounds.
        """
        array = pixels_of(images)
        self.require_shape(array.shape)
        if not len(array):
            raise InvalidInputError(f"{self.name} needs at least one image. Received: none")
        if self.levels is not None and np.isfinite(array).all() and not on_grid(array, self.bounds, self.levels):
            raise InvalidInputError(
                f"examples of {self.name} are to be pictures whose pixels have {self.levels} values, and so must the "
                "images be that they are made of. Received: pixels between these values"
            )
        low, high = self.bounds
        tolerance = 1e-5 * (high - low)
        least, most = float(array.min()), float(array.max())
        # A NaN fails both comparisons, hence the form of the condition.
        if not (least >= low - tolerance and most <= high + tolerance):
            raise InvalidInputError(
                f"{self.name} takes pixels in [{low:g}, {high:g}]. Received: pixels in [{least:g}, {most:g}]; "
                "scale the images to the classifier's bounds"
            )
        clipped = np.clip(array, low, high)
        return clipped if self.levels is None else settled_arrays(clipped, self.bounds, self.levels)


def classes_of(logits: Any) -> Any:
    """The classes (...,) int32 that logits (..., classes) say, as a TensorFlow function; NO_CLASS where one is NaN."""
    unknown = tf.reduce_any(tf.math.is_nan(logits), axis=-1)
    return tf.where(unknown, NO_CLASS, tf.argmax(logits, axis=-1, output_type=tf.int32))
