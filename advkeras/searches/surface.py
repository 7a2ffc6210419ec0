"""Random points on the surface of balls around images, where runs of an attack start."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray
from advkeras.models import Classifier
from advkeras.regions import Gaussian, Hypercube
from advkeras.searches.geometry import largest_entry, length, per_image
from advkeras.searches.norms import NormName
from advkeras.searches.problem import Problem

# Images whose noise is drawn at once.
_AT_ONCE = 256


def surface_points(classifier: Classifier, problem: Problem, seeds: Any, radius: Any, norm: NormName) -> FloatArray:
    """A point on the surface of a ball around each image, within the bounds: (N, H, W, C).

    Its direction is drawn uniformly in L2; for L-inf it is uniform noise whose largest entry is the radius.

    Args:
        classifier: whose bounds count.
        problem: with the images.
        seeds: (N, 2) int32, of the noise.
        radius: (N,), of the balls, in pixel units, or one number for all of them.
        norm: ``"linf"`` or ``"l2"``.
    """
    draw = classifier.graph(
        ("surface points", norm),
        lambda: _drawn(classifier, norm),
        [classifier.image_signature, tf.TensorSpec((None, 2), tf.int32), tf.TensorSpec((None,), tf.float32)],
    )
    radii, points = np.broadcast_to(np.float32(radius), (len(problem),)), np.empty_like(problem.images)
    for first in range(0, len(problem), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        points[part] = draw(problem.images[part], seeds[part], radii[part])
    return points


def _drawn(classifier: Classifier, norm: NormName) -> Callable[..., Any]:
    noise, size = (Hypercube(1.0), largest_entry) if norm == "linf" else (Gaussian(1.0), length)

    def draw(images: Any, seeds: Any, radii: Any) -> Any:
        drawn = noise.offsets_by_image(classifier.input_shape, seeds)
        moves = per_image(radii) * tf.math.divide_no_nan(drawn, per_image(size(drawn)))
        return tf.clip_by_value(images + moves, *classifier.bounds)

    return draw
