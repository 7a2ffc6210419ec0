"""(g) Boundary distances: time over the bare forwards, and over a search with one image at a time and NumPy.

200 directions around MNIST images and around what OptBrittle makes of them, whose boundaries are next door. The bare
forwards are as many as the search needed, in batches of its size. The other search takes the images one at a time and
does as its author would without the walks side by side: at each step it adds the directions in NumPy and classifies
those that have not met a boundary. Both look at every step; the last column but one says how much is gained by taking
5 at a time, as the quick search does, and the last whether the two find the same distances.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from measuring import alternating, digits, models, report

from advkeras.attacks import configure
from advkeras.boundary import random_directions
from advkeras.datasets import MNIST
from advkeras.evaluation.protocol import boundary_search

COUNT, ROUNDS = 8, 3


def one_at_a_time(classifier, images, directions, search):
    """Distances (N, D) by the plain method."""
    distances = np.full((len(images), len(directions)), np.inf, np.float32)
    for image, row in zip(images, distances, strict=True):
        own = classifier.predict(image[None])[0]
        going = np.arange(len(directions))
        for step in range(1, search.steps + 1):
            points = np.clip(image + np.float32(search.step * step) * directions[going], *classifier.bounds)
            changed = classifier.predict(points) != own
            row[going[changed]] = search.step * step
            going = going[~changed]
            if not len(going):
                break
    return distances


def bare_forwards(classifier, images, forwards, batch_size):
    """As many forwards as the search needed."""
    batch = np.resize(images, (batch_size, *images.shape[1:]))
    for first in range(0, forwards, batch_size):
        classifier.logits(batch[: min(batch_size, forwards - first)], batch_size=batch_size)


rows = []
strided = boundary_search(MNIST, directions=200)
search = replace(strided, stride=1)
for classifier in models():
    data = digits(COUNT)
    right = data.where(classifier.predict(data.images) == data.labels)
    brittle = configure("optbrittle", MNIST)(classifier, right.images, right.labels)
    directions = random_directions(search.directions, MNIST.shape, negatives=search.negatives, seed=search.seed)
    for kind, images in (("benign", right.images), ("OptBrittle", brittle.adversarials[brittle.success])):
        found = search(classifier, images)
        strided(classifier, images)
        plain = one_at_a_time(classifier, images, directions, search)
        times = alternating(
            {
                "search": partial(search, classifier, images),
                "forwards": partial(bare_forwards, classifier, images, found.forward_count, 2 * classifier.at_once),
                "strided": partial(strided, classifier, images),
                "plain": partial(one_at_a_time, classifier, images, directions, search),
            },
            rounds=ROUNDS,
            warm_up=False,
        )
        rows.append(
            {
                "model": classifier.name,
                "images": f"{kind} ({len(images)})",
                "forwards_per_image": found.forward_count / len(images),
                "seconds_per_image": times["search"] / len(images),
                "time_over_forwards": times["search"] / times["forwards"],
                "one_at_a_time_over_search": times["plain"] / times["search"],
                "strides_gain": times["search"] / times["strided"],
                "same_distances_%": float(100 * np.isclose(plain, found.distances).mean()),
            }
        )
report("boundary", f"Boundary distances along {search.directions} directions, MNIST", rows)
