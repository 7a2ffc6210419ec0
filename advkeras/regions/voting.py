"""Combining the answers of many points around an image into one, in the graph, and stopping when it is decided."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from annotated_types import Interval
from scipy.stats import binom

from advkeras.arrays import NO_CLASS
from advkeras.errors import InvalidInputError
from advkeras.models.classifier import classes_of
from advkeras.parameters import Count, WithinOne, hold_fields
from advkeras.regions.shapes import Region

Combination = Literal["majority", "mean_softmax", "mean_logits"]
Stop = Literal["never", "exact", "confident"]

# Points of an image that are drawn together, at most: the fewer, the sooner a vote can stop.
LARGEST_ROUND = 16
# Points of a vote, at most: a share is known to within half a percentage point then.
MOST_SAMPLES = 100_000
# Shares of the error that is left which the confident vote spends at its first look, and at each later one. The first
# look is at votes that are all for one class, as almost all of a benign image's are, so it gets nearly everything.
_SPENT_FIRST, _SPENT_LATER = 0.98, 0.5


class _State(NamedTuple):
    """What is known of each image's vote."""

    scores: Any  # (B, classes) float32, the sum of the points' contributions
    votes: Any  # (B, classes) int32, points for each class
    drawn: Any  # (B,) int32
    decided: Any  # (B,) bool
    noise: Any  # (B,) float32, the largest of the numbers that were added to the first pixel


@dataclass(frozen=True, kw_only=True)
class RegionVote:
    """What the points of a region around an image say together.

    Every point contributes to each class, and the class with the largest sum wins, the lowest of those that are
    equal. ``majority``: one vote for the point's class (Cao and Gong, ACSAC 2017). ``mean_softmax``: its
    probabilities. ``mean_logits``: its logits.

    An image leaves the batch as soon as its vote is decided, and points of undecided images take the room.
    ``exact`` stops when the points left could not change the winner: the answer is that of the full vote, which draws
    the same points from the same seed.
    ``confident`` stops when a sequential test rejects, at the error probability asked for, that the leading class
    holds at most half of the region; an image that the test never decides gets the full vote.

    Args:
        region: that the points are drawn from.
        samples: points drawn for each image, at most.
        combine: ``"majority"``, ``"mean_softmax"`` or ``"mean_logits"``.
        stop: ``"never"``, ``"exact"`` (not for mean logits, which have no bound) or ``"confident"`` (majority only).
        error: probability, at most, that ``confident`` stops a vote early, and at a class other than the one that
            holds most of the region. A vote that runs to its end has no such bound.
        chunk_size: points classified at once; less than 16 changes how the points of an image are drawn.

    Raises:
        InvalidInputError: if a parameter makes no sense, or the combination cannot be stopped that way.
    """

    region: Region
    samples: Annotated[int, Interval(ge=1, le=MOST_SAMPLES)] = 100
    combine: Combination = "majority"
    stop: Stop = "never"
    error: WithinOne = 1e-3
    chunk_size: Count = 256

    def __post_init__(self) -> None:
        hold_fields(self)
        possible = {"majority": STOPS, "mean_softmax": ("never", "exact"), "mean_logits": ("never",)}[self.combine]
        if self.stop not in possible:
            raise InvalidInputError(
                f"combine={self.combine!r} can stop {' or '.join(possible)}: only a majority has a sequential test, "
                f"and logits have no bound. Received: stop={self.stop!r}"
            )

    def __call__(
        self,
        function: Callable[[Any], Any],
        images: Any,
        *,
        num_classes: int,
        bounds: tuple[float, float],
        seed: Any | None,
    ) -> dict[str, Any]:
        """The votes on images, as a TensorFlow function.

        Args:
            function: images to logits.
            images: (B, H, W, C) float32, in pixel units.
            num_classes: of the logits.
            bounds: lowest and highest pixel value, to which points are clipped.
            seed: (2,) int32: an image's points depend on it and on the image's place in the batch; (B, 2) int32, a
                seed for each image: its points depend on nothing else; None draws afresh.

        Returns:
            ``votes`` (B, classes) int32, points for each class; ``class`` (B,) int32; ``agreement`` (B,) float32,
            the class's share of the points drawn; ``samples`` (B,) int32, the points drawn; ``noise`` (B,) float32,
            the largest of the numbers that were added to the first pixel, as a trace of which points were drawn.
        """
        count = tf.shape(images)[0]
        state = _State(
            tf.zeros((count, num_classes)),
            tf.zeros((count, num_classes), tf.int32),
            tf.zeros((count,), tf.int32),
            tf.zeros((count,), tf.bool),
            tf.fill((count,), tf.float32.min),
        )

        def classify(points: Any) -> Any:
            return function(tf.clip_by_value(points, *bounds))

        first, later = self.rounds()
        # Nothing else is decided by the first points alone, so only the sequential test looks at them apart.
        if self.stop == "confident":
            state = _loop(
                lambda state: tf.reduce_any(state.drawn == 0),
                lambda state: self._draw(classify, images, state, state.drawn == 0, seed, size=first, most_rounds=1),
                state,
            )
        most_rounds = max(1, self.chunk_size // later)
        state = _loop(
            lambda state: tf.reduce_any(~state.decided),
            lambda state: self._draw(
                classify, images, state, ~state.decided, seed, size=later, most_rounds=most_rounds
            ),
            state,
        )
        winner = tf.argmax(state.scores, axis=1, output_type=tf.int32)
        agreeing = tf.cast(tf.gather(state.votes, winner, batch_dims=1), tf.float32)
        return {
            "votes": state.votes,
            "class": tf.where(tf.reduce_any(state.votes > 0, axis=1), winner, NO_CLASS),
            "agreement": agreeing / tf.cast(state.drawn, tf.float32),
            "samples": state.drawn,
            "noise": state.noise,
        }

    def rounds(self) -> tuple[int, int]:
        """Points of an image before the first look at whether its vote is decided, and between later looks."""
        if self.stop == "confident":
            unanimous = min(self.samples, ceil(log2(1 / (_SPENT_FIRST * self.error))))
            first, later = unanimous, max(1, unanimous // 2)
        else:
            # The same for the full vote and the exact one, which must draw the same points.
            first = later = min(LARGEST_ROUND, ceil((self.samples // 2 + 1) / 4))
        return min(first, self.chunk_size), min(later, self.chunk_size)

    @cached_property
    def votes_needed(self) -> npt.NDArray[np.float32]:
        """Votes of the leading class, after 0, 1, ..., samples points, at which the confident vote stops: float32.

        A group-sequential test: at each look the threshold is the smallest whose probability of being crossed now and
        never before, by a class that holds exactly half of the region, fits into a share of the error that is left.
        These probabilities are computed exactly, look by look, and add up to at most ``error``. For a class that
        holds a share p of less than 1/2 the sum falls at least as (2 p)^L, L being the smallest lead at a threshold;
        and as L is at least 2, these powers add up to at most 1 over all classes but the one that holds most: so
        ``error`` bounds the probability of stopping at any wrong class. Infinite where the vote cannot stop.
        """
        needed = np.full(self.samples + 1, np.inf, np.float32)
        first, later = self.rounds()
        undecided, left, last, share = np.ones(1), self.error, 0, _SPENT_FIRST
        for look in range(first, self.samples, later):
            undecided = np.convolve(undecided, binom.pmf(np.arange(look - last + 1), look - last, 0.5))
            last = look
            crossing = np.cumsum(undecided[::-1])[::-1]
            # A lead of at least 2.
            fits = np.flatnonzero((crossing <= share * left) & (2 * np.arange(look + 1) >= look + 2) & (crossing > 0))
            if len(fits):
                needed[look] = fits[0]
                left, share = left - crossing[fits[0]], _SPENT_LATER
                undecided[fits[0] :] = 0
        return needed

    def _draw(
        self,
        classify: Callable[[Any], Any],
        images: Any,
        state: _State,
        waiting: Any,
        seed: Any | None,
        *,
        size: int,
        most_rounds: int,
    ) -> _State:
        """As many rounds of as many waiting images as the chunk holds.

        Args:
            classify: points to logits.
            images: (B, H, W, C).
            state: of the votes.
            waiting: (B,) bool, the images that need points.
            seed: as at the call.
            size: points of a round.
            most_rounds: of an image, at once.
        """
        undecided = tf.cast(tf.where(waiting)[:, 0], tf.int32)
        slots = max(1, self.chunk_size // size)
        # No more rounds at once than it takes until the vote can be decided.
        missing = tf.reduce_max(self._earliest() - tf.gather(state.drawn, undecided))
        rounds = tf.minimum(slots // tf.size(undecided), -(-missing // size))
        rounds = tf.clip_by_value(rounds, 1, most_rounds)
        chosen = tf.repeat(undecided[: slots // rounds], rounds)
        start = tf.gather(state.drawn, chosen) + size * (tf.range(tf.size(chosen)) % rounds)
        image = tf.repeat(chosen, size)
        needed = tf.repeat(start, size) + tf.tile(tf.range(size), [tf.size(chosen)]) < self.samples
        offsets = self._offsets(chosen, start, size, tf.shape(images)[1:], seed)
        points = tf.where(needed)[:, 0]
        image, offsets = tf.gather(image, points), tf.gather(offsets, points)
        logits = classify(tf.gather(images, image) + offsets)
        ballots = tf.one_hot(classes_of(logits), tf.shape(logits)[1], dtype=tf.int32)
        place = image[:, None]
        scores = tf.tensor_scatter_nd_add(state.scores, place, contributions(logits, self.combine))
        drawn = tf.tensor_scatter_nd_add(state.drawn, place, tf.ones_like(image))
        votes = tf.tensor_scatter_nd_add(state.votes, place, ballots)
        noise = tf.tensor_scatter_nd_max(state.noise, place, offsets[:, 0, 0, 0])
        return _State(scores, votes, drawn, self._decided(scores, drawn), noise)

    def _earliest(self) -> int:
        """Points that are drawn without a look in between: before them no vote is decided, or every look counts."""
        return {"never": self.samples, "exact": self.samples // 2 + 1, "confident": 0}[self.stop]

    def _decided(self, scores: Any, drawn: Any) -> Any:
        finished = drawn >= self.samples
        if self.stop == "never":
            return finished
        best = tf.math.top_k(scores, 2).values
        if self.stop == "exact":
            # A point moves the lead by one at most. Votes add up exactly, sums of probabilities are rounded.
            slack = 0.0 if self.combine == "majority" else self.samples**2 * 2.0**-23
            return finished | (best[:, 0] - best[:, 1] > tf.cast(self.samples - drawn, tf.float32) + slack)
        return finished | (best[:, 0] >= tf.gather(tf.constant(self.votes_needed), drawn))

    def _offsets(self, chosen: Any, start: Any, size: int, shape: Any, seed: Any | None) -> Any:
        """Offsets (len(chosen) * size, H, W, C): a round's are the same in whatever company it is drawn."""
        if seed is None:
            return self.region.offsets(tf.concat([[tf.size(chosen) * size], shape], 0), None)
        one = tf.concat([[size], shape], 0)
        if seed.shape.rank == 1:
            seeds, rounds = tf.repeat(seed[None], tf.size(chosen), axis=0), chosen * (self.samples + 1) + start
        else:
            seeds, rounds = tf.gather(seed, chosen), start
        drawn = tf.map_fn(
            lambda pair: self.region.offsets(one, tf.random.experimental.stateless_fold_in(pair[0], pair[1])),
            (seeds, rounds),
            fn_output_signature=tf.float32,
        )
        return tf.reshape(drawn, tf.concat([[-1], shape], 0))


STOPS: tuple[Stop, ...] = get_args(Stop)
COMBINATIONS: tuple[Combination, ...] = get_args(Combination)


def contributions(logits: Any, combine: Combination) -> Any:
    """What points with logits (..., classes) contribute to each class, float32; nothing, where a logit is NaN."""
    classes = classes_of(logits)
    if combine == "majority":
        return tf.one_hot(classes, tf.shape(logits)[-1])
    contributed = tf.nn.softmax(logits) if combine == "mean_softmax" else logits
    return tf.where((classes == NO_CLASS)[..., None], tf.zeros_like(contributed), contributed)


def _loop(condition: Callable[[_State], Any], body: Callable[[_State], _State], state: _State) -> _State:
    return _State(
        *tf.while_loop(lambda *s: condition(_State(*s)), lambda *s: body(_State(*s)), state, parallel_iterations=1)
    )
