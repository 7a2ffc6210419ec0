"""OptMargin's quick search against the authors' full one."""

import numpy as np
import pytest

from advkeras.attacks import configure
from advkeras.datasets import MNIST
from advkeras.defenses.region_classification import RegionClassification

EXAMPLES = 16


@pytest.mark.slow
def test_the_quick_search_of_optmargin_agrees_with_the_full_one(natural, sample):
    """4 weights with up to 1,000 iterations each: about ten minutes on two cores."""
    images, labels = sample.images[:EXAMPLES], sample.labels[:EXAMPLES]
    quick, full = (
        configure("optmargin", MNIST.constants, full_search=full_search)(natural, images, labels)
        for full_search in (False, True)
    )
    region = RegionClassification(natural, radius=MNIST.constants.region_radius, samples=100, seed=0)
    correct = [int((region.predict(found.adversarials)["class"] == labels).sum()) for found in (quick, full)]
    print(f"RMS {quick.distortion.mean():.4f} and {full.distortion.mean():.4f}, region correct {correct}")
    print(
        f"gradients {quick.gradient_count:,} and {full.gradient_count:,}, {quick.seconds:.0f} and {full.seconds:.0f} s"
    )
    assert quick.success.all()
    assert full.success.all()
    assert np.mean(quick.distortion) == pytest.approx(np.mean(full.distortion), rel=0.05)
    assert abs(correct[0] - correct[1]) <= 1
