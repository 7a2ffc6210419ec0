"""How far the decision boundary is from an image, along random directions, and which class lies beyond it."""

import time
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.arrays import NO_CLASS, FloatArray, Progress
from advkeras.boundary.directions import random_directions
from advkeras.boundary.found import Boundaries
from advkeras.datasets.registry import BOUNDARY_REACH, DatasetSpec
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.models.classifier import classes_of
from advkeras.parameters import Count, Positive, Seed, hold_fields

# Images that are searched together; progress is told in between.
_IMAGES_AT_ONCE = 16
# The paper's directions on each data set, whether half of them are opposites, and its step as a share of the range.
_PAPER = {"mnist": (2 * 28 * 28, True, 0.01), "cifar10": (1_000, False, 2 / 255)}


class _Walk(NamedTuple):
    """Pairs of an image and a direction; those under way are walked one step at a time."""

    pair: Any  # (B,) int32, of each pair under way
    step: Any  # (B,) int32, the next one of each
    located: Any  # (B,) bool, whether a boundary is known to be at most a stride away
    following: Any  # () int32, the first pair that has not set out
    found_step: Any  # (P,) int32, where the class changed; 0 where it has not
    found_class: Any  # (P,) int32
    forwards: Any  # () int32


@dataclass(frozen=True, kw_only=True)
class BoundarySearch:
    """The first change of class along each of some directions (He et al. 2018, section 5).

    From an image it walks along each direction in steps of the same RMS; every point is clipped to the pixel range, and
    the first step at which the classifier's class is not that of the image is the distance, the class there the
    adjacent class. Directions and images are walked side by side, and as soon as one walk ends another takes its place.

    With a stride of several steps only every so many steps are looked at, until one has another class; then the steps
    before it that were left out. What is found is the same, unless a walk leaves the image's class and comes back to it
    within a stride.

    Args:
        directions: number of random orthogonal directions, the same for all images.
        negatives: let the second half be the first half's opposites.
        step: RMS of a step, in pixel units.
        reach: RMS up to which it walks, in pixel units.
        stride: steps taken at once until a boundary lies behind; 1 leaves out none, as in the paper.
        seed: of the directions.
        batch_size: points classified at once; by default twice as many as the memory budget holds gradients.
    """

    directions: Count
    negatives: bool = False
    step: Positive
    reach: Positive
    stride: Count = 1
    seed: Seed = 0
    batch_size: Count | None = None

    def __post_init__(self) -> None:
        hold_fields(self)
        require(
            not self.negatives or self.directions % 2 == 0,
            "directions with their negatives must be an even number",
            directions=self.directions,
        )
        require(self.reach >= self.step, "reach must be at least a step", reach=self.reach, step=self.step)

    @classmethod
    def paper(cls, spec: DatasetSpec, *, seed: int = 0) -> "BoundarySearch":
        """The paper's search on a data set."""
        directions, negatives, step = _PAPER[spec.follows]
        return cls(
            directions=directions,
            negatives=negatives,
            step=step * spec.span,
            reach=BOUNDARY_REACH * spec.span,
            seed=seed,
        )

    @property
    def steps(self) -> int:
        """Steps along a direction, at most."""
        return int(np.floor(self.reach / self.step + 1e-6))

    def get_config(self) -> dict[str, Any]:
        """The parameters, as plain values."""
        return asdict(self)

    def __call__(
        self, classifier: Classifier, images: npt.ArrayLike, *, progress: Progress | None = None
    ) -> Boundaries:
        """Looks for the boundaries around images.

        Args:
            classifier: whose boundaries.
            images: (N, H, W, C), in the classifier's pixel unit and within its bounds.
            progress: called with the number of images done and to do.

        Raises:
            InvalidInputError: if the images do not fit the classifier, or have fewer features than directions are
                asked for.
        """
        start = time.perf_counter()
        checked = classifier.check_images(images)
        directions = tf.constant(self.directions_for(classifier))
        classes = classifier.predict(checked)
        walk = classifier.graph(
            self,
            lambda: self._walk_all(classifier),
            [classifier.image_signature, tf.TensorSpec((None,), tf.int32), classifier.image_signature],
        )
        distances, adjacent, forwards = [], [], len(checked)
        for first in range(0, len(checked), _IMAGES_AT_ONCE):
            part = slice(first, first + _IMAGES_AT_ONCE)
            found = walk(checked[part], classes[part], directions)
            distances.append(found[0].numpy())
            adjacent.append(found[1].numpy())
            forwards += int(found[2])
            if progress is not None:
                progress(min(first + _IMAGES_AT_ONCE, len(checked)), len(checked))
        return Boundaries(
            distances=np.concatenate(distances),
            adjacent=np.concatenate(adjacent),
            classes=classes,
            forward_count=forwards,
            seconds=time.perf_counter() - start,
        )

    def graph_function(self, classifier: Classifier) -> Any:
        """Images (B, H, W, C) to distances and adjacent classes (B, D), as one TensorFlow function."""
        walk = self._walk_all(classifier)
        directions = tf.constant(self.directions_for(classifier))

        def search(images: Any) -> tuple[Any, Any]:
            classes = classes_of(classifier(images))
            distances, adjacent, _ = walk(images, classes, directions)
            return distances, adjacent

        return search

    def directions_for(self, classifier: Classifier) -> FloatArray:
        """The directions, (D, H, W, C) float32, each of RMS 1.

        Raises:
            InvalidInputError: if the classifier's images have fewer features than directions are asked for.
        """
        return random_directions(self.directions, classifier.input_shape, negatives=self.negatives, seed=self.seed)

    def _walk_all(self, classifier: Classifier) -> Any:
        first_step = min(self.stride, self.steps)
        at_once = self.batch_size or 2 * classifier.at_once

        def walk_all(images: Any, classes: Any, directions: Any) -> tuple[Any, Any, Any]:
            count = tf.shape(directions)[0]
            pairs = tf.shape(images)[0] * count
            under_way = tf.minimum(pairs, at_once)
            state = _Walk(
                pair=tf.range(under_way),
                step=tf.fill((under_way,), first_step),
                located=tf.fill((under_way,), self.stride == 1),
                following=under_way,
                found_step=tf.zeros((pairs,), tf.int32),
                found_class=tf.fill((pairs,), NO_CLASS),
                forwards=tf.constant(0),
            )

            def advance(state: _Walk) -> _Walk:
                image = state.pair // count
                length = self.step * tf.cast(state.step, tf.float32)[:, None, None, None]
                points = tf.gather(images, image) + length * tf.gather(directions, state.pair % count)
                logits = classifier(tf.clip_by_value(points, *classifier.bounds))
                met, before = classes_of(logits), tf.gather(classes, image)
                # What is not classified lies beyond no boundary, and none is next to it.
                changed = (met != before) & (met != NO_CLASS) & (before != NO_CLASS)
                found = changed & state.located
                where = tf.where(found)[:, 0]
                places = tf.gather(state.pair, where)[:, None]
                over = found | (~changed & (state.step >= self.steps))
                # Whose walk is over makes room for the next pair, as long as there is one.
                entering = state.following + tf.cumsum(tf.cast(over, tf.int32)) - 1
                pair = tf.where(over, entering, state.pair)
                ahead = tf.minimum(state.step + tf.where(state.located, 1, self.stride), self.steps)
                back = tf.maximum(state.step - self.stride + 1, 1)
                step = tf.where(over, first_step, tf.where(changed, back, ahead))
                located = tf.where(over, self.stride == 1, state.located | changed)
                staying = tf.where(pair < pairs)[:, 0]
                return _Walk(
                    pair=tf.gather(pair, staying),
                    step=tf.gather(step, staying),
                    located=tf.gather(located, staying),
                    following=state.following + tf.reduce_sum(tf.cast(over, tf.int32)),
                    found_step=tf.tensor_scatter_nd_update(state.found_step, places, tf.gather(state.step, where)),
                    found_class=tf.tensor_scatter_nd_update(state.found_class, places, tf.gather(met, where)),
                    forwards=state.forwards + tf.size(state.pair),
                )

            anything = _Walk(*(value.shape for value in state))._replace(
                pair=tf.TensorShape([None]), step=tf.TensorShape([None]), located=tf.TensorShape([None])
            )
            (state,) = tf.while_loop(
                lambda state: tf.size(state.pair) > 0,
                lambda state: (advance(state),),
                (state,),
                shape_invariants=(anything,),
                parallel_iterations=1,
            )
            walked = tf.reshape(state.found_step, [-1, count])
            distances = tf.where(walked > 0, self.step * tf.cast(walked, tf.float32), np.float32(np.inf))
            return distances, tf.reshape(state.found_class, [-1, count]), state.forwards

        return walk_all
