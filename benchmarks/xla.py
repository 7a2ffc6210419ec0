"""(f) XLA on and off, for each attack that has gradients to compile, on 64 images, compilation apart."""

from measuring import alternating, digits, models, report, seconds

from advkeras.attacks import configure, names
from advkeras.attacks.registry import get
from advkeras.datasets import MNIST

rows = []
classifier = models()[0]
data = digits(64)
for name in (name for name in names() if get(name).needs_gradient):
    plain, compiled = (configure(name, MNIST, jit_compile=on) for on in (False, True))
    first = seconds(lambda: compiled(classifier, data.images, data.labels))
    timed = alternating(
        {
            "plain": lambda: plain(classifier, data.images, data.labels),
            "xla": lambda: compiled(classifier, data.images, data.labels),
        },
        rounds=3,
    )
    rows.append(
        {
            "attack": name,
            "plain_seconds": timed["plain"],
            "xla_seconds": timed["xla"],
            "xla_over_plain": timed["xla"] / timed["plain"],
            "xla_first_call_seconds": first,
        }
    )
report("xla", f"XLA against the plain graph, {classifier.name}, 64 images", rows)
