"""Searches on many images at once, of which finished ones leave and waiting ones enter."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.arrays import Progress
from advkeras.models import Classifier
from advkeras.searches.batches import filled


def run_active_set(
    classifier: Classifier,
    key: Hashable,
    build: Callable[[], Any],
    state: Any,
    shared: Sequence[Any] = (),
    *,
    members: int,
    batch_size: int,
    progress: Progress,
    jit_compile: bool,
) -> None:
    """Advances the unfinished images, as many at once as the batch holds, until all are finished.

    An image's result does not depend on its company, since every part of its state is its own; memory depends on
    the batch, not on the number of images. The state of a batch stays on the device: an image's is copied there when
    it enters and back when it is finished, in two pieces each time. Where every new shape would be compiled anew (XLA),
    a batch that is not full is filled with copies, up to a half, a quarter, ... of its size.

    Args:
        classifier: what is attacked; keeps the compiled function.
        key: stands for all that the compiled function depends on.
        build: returns a function that takes the state of a batch, and what is shared, and returns the state some
            iterations later.
        state: named tuple of arrays (N, ...) of float32, int32 and bool, with the field ``finished``; updated in place.
        shared: arrays or numbers that are the same for all images, and no part of the key.
        members: of each image.
        batch_size: members at once, over all images; 0 for as many as the memory budget holds.
        progress: called with the number of images done and to do.
        jit_compile: compile by XLA.
    """
    at_once = batch_size or classifier.at_once
    size, total, layout = max(1, at_once // members), len(state.finished), _Layout.of(state)
    constants = [tf.convert_to_tensor(value) for value in shared]
    specs = [tf.TensorSpec.from_tensor(value) for value in constants]
    advance = classifier.graph(
        (key, jit_compile),
        lambda: _step(build(), layout, jit_compile=jit_compile),
        [layout.signature, *layout.packed_signature, tf.TensorSpec((None,), tf.int32), *specs],
    )
    waiting = np.flatnonzero(~state.finished)
    active: npt.NDArray[np.intp] = waiting[:0]
    batch, done, rows = layout.empty, total - len(waiting), tf.zeros((0,), tf.int32)
    while True:
        progress(done, total)
        entering, waiting = np.split(waiting, [size - len(active)])
        active = np.concatenate([active, entering])
        if not len(active):
            return
        pieces = layout.pack(type(state)(*(values[entering] for values in state))) if len(entering) else layout.nothing
        if jit_compile:
            rows = tf.constant(filled(np.arange(len(active)), size), tf.int32)
        with classifier.counting(len(active), of=len(rows) if jit_compile else len(active)):
            batch, finished, *packed = advance(batch, *pieces, rows, *constants)
            leaving = finished.numpy()
        if leaving.any():
            layout.unpack_into(state, active[leaving], *(piece.numpy() for piece in packed))
            active, done = active[~leaving], done + int(leaving.sum())


def _step(advance: Callable[..., Any], layout: "_Layout", *, jit_compile: bool) -> Any:
    """A function from a batch, and images that enter it, to what of it goes on, and images that leave it.

    Args:
        advance: takes and returns the state of a batch.
        layout: of the state.
        jit_compile: compile what advances the batch by XLA, and fill the batch with copies: the rows (R,) say of what.
    """
    if jit_compile:
        advance = tf.function(advance, jit_compile=True, autograph=False)

    def step(batch: Any, floats: Any, integers: Any, rows: Any, *shared: Any) -> tuple[Any, ...]:
        entering = layout.unpack(floats, integers)
        batch = type(batch)(*(tf.concat(both, axis=0) for both in zip(batch, entering, strict=True)))
        count = tf.shape(batch.finished)[0]
        if jit_compile:
            batch = type(batch)(*(tf.gather(values, rows) for values in batch))
        batch = advance(batch, *shared)
        if jit_compile:
            batch = type(batch)(*(values[:count] for values in batch))
        finished = batch.finished
        gone, staying = (
            type(batch)(*(tf.gather(values, places) for values in batch))
            for places in (tf.where(mask)[:, 0] for mask in (finished, ~finished))
        )
        return staying, finished, *layout.pack_tensors(gone)

    return step


@dataclass(frozen=True)
class _Layout:
    """How the fields of a state, arrays (N, ...), lie side by side in two: (N, F) float32 and (N, I) int32.

    Attributes:
        kind: the named tuple.
        shapes: of the fields, without their first axis.
        dtypes: of the fields.
    """

    kind: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @classmethod
    def of(cls, state: Any) -> "_Layout":
        return cls(type(state), tuple(values.shape[1:] for values in state), tuple(tf.as_dtype(v.dtype) for v in state))

    @property
    def signature(self) -> Any:
        return self.kind(*(tf.TensorSpec((None, *each), kind) for each, kind in self._fields))

    @property
    def packed_signature(self) -> list[Any]:
        return [tf.TensorSpec((None, sum(self._widths(floating))), _PIECES[floating]) for floating in (True, False)]

    @property
    def empty(self) -> Any:
        """A batch of no images."""
        return self.kind(*(tf.zeros((0, *each), kind) for each, kind in self._fields))

    @cached_property
    def nothing(self) -> list[Any]:
        """No images that enter a batch."""
        return [tf.zeros((0, sum(self._widths(floating))), _PIECES[floating]) for floating in (True, False)]

    def pack(self, state: Any) -> list[Any]:
        """The two pieces, of arrays."""
        return [
            np.concatenate(
                [values.reshape(len(values), -1).astype(_PIECES[floating].as_numpy_dtype) for values in fields], axis=1
            )
            for floating, fields in self._parted(state)
        ]

    def pack_tensors(self, state: Any) -> list[Any]:
        """The two pieces, of tensors."""
        return [
            tf.concat(
                [
                    tf.cast(tf.reshape(values, (-1, math.prod(values.shape[1:]))), _PIECES[floating])
                    for values in fields
                ],
                axis=1,
            )
            for floating, fields in self._parted(state)
        ]

    def unpack(self, floats: Any, integers: Any) -> Any:
        """The state of two pieces, of tensors."""
        return self.kind(
            *(
                tf.cast(tf.reshape(columns, (-1, *each)), kind)
                for columns, (each, kind) in zip(self._columns(floats, integers, tf.split), self._fields, strict=True)
            )
        )

    def unpack_into(self, state: Any, rows: Any, floats: Any, integers: Any) -> None:
        """Writes two pieces, of arrays, into rows of a state."""
        for values, columns in zip(state, self._columns(floats, integers, _split_array), strict=True):
            values[rows] = columns.reshape(len(rows), *values.shape[1:])

    def _columns(self, floats: Any, integers: Any, split: Callable[..., Any]) -> list[Any]:
        """Each field's part of the pieces, which a function like ``tf.split`` takes apart."""
        parts = {
            floating: iter(split(piece, self._widths(floating), axis=1))
            for floating, piece in ((True, floats), (False, integers))
        }
        return [next(parts[kind.is_floating]) for kind in self.dtypes]

    @property
    def _fields(self) -> list[tuple[tuple[int, ...], Any]]:
        return list(zip(self.shapes, self.dtypes, strict=True))

    def _parted(self, state: Any) -> list[tuple[bool, list[Any]]]:
        fields = list(zip(state, self.dtypes, strict=True))
        return [
            (floating, [values for values, kind in fields if kind.is_floating == floating])
            for floating in (True, False)
        ]

    def _widths(self, floating: bool) -> list[int]:
        return [math.prod(each) for each, kind in self._fields if kind.is_floating == floating]


def _split_array(piece: npt.NDArray[Any], widths: Sequence[int], *, axis: int) -> list[npt.NDArray[Any]]:
    return np.split(piece, np.cumsum(widths)[:-1], axis=axis)


_PIECES = {True: tf.float32, False: tf.int32}
