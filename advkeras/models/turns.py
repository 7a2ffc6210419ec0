"""A network on more images than the memory holds: some at a time, forward and back."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def in_turns(function: Callable[[Any], Any], at_once: int, *, of: int) -> Callable[[Any], Any]:
    """A function of images that runs on so many of them at a time, and once more on each to go back.

    Nothing of a forward pass is kept for the gradient but the images, so memory depends on how many go through at once.
    Gradients by variables are not taken.

    Args:
        function: images (N, H, W, C) float32 to logits, each row's of its own image alone.
        at_once: images at a time.
        of: as many as come together; the function itself is returned, if they are not more.
    """
    if of <= at_once:
        return function

    def backward(images: Any, upstream: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = function(images)
        return tape.gradient(logits, images, output_gradients=upstream)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(images: Any) -> Any:
        def back(upstream: Any, variables: Any = ()) -> Any:
            gradient = _by_turns(backward, at_once, images, upstream)
            return (gradient, [None] * len(variables)) if variables else gradient

        return _by_turns(function, at_once, images), back

    return run  # type: ignore[no-any-return]


def _by_turns(function: Callable[..., Any], at_once: int, *rows: Any) -> Any:
    """What a function makes of some rows at a time, together."""
    turns = -(-tf.shape(rows[0])[0] // at_once)

    def go_on(turn: Any, parts: Any) -> tuple[Any, Any]:
        chosen = slice(turn * at_once, (turn + 1) * at_once)
        return turn + 1, parts.write(turn, function(*(part[chosen] for part in rows)))

    parts = tf.TensorArray(tf.float32, size=turns, infer_shape=False)
    _, parts = tf.while_loop(lambda turn, _: turn < turns, go_on, (0, parts), parallel_iterations=1)
    return parts.concat()
