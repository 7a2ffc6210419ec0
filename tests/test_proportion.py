"""Shares and their changes: intervals and p-values as others have published them, and how often they hold the truth."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from advkeras.proportion import PairedDifference, Proportion


@pytest.mark.parametrize("of", [1, 2, 10, 97, 10_000])
def test_wilsons_interval_is_that_of_scipy(of):
    for count in {0, 1, of // 3, of // 2, of - 1, of}:
        for confidence in (0.9, 0.95):
            expected = binomtest(count, of).proportion_ci(confidence, method="wilson")
            assert Proportion(count, of).interval(confidence) == pytest.approx(tuple(expected), abs=1e-12)


# Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables (2017), chapter 8, the first share less the
# second: hyper-responsiveness of airways (Bentur et al. 2009), response before and after a therapy (Cavo et al. 2012).
@pytest.mark.parametrize(
    ("counts", "difference", "interval", "digits"),
    [((1, 1, 7, 12), -0.286, (-0.517, -0.026), 3), ((59, 6, 16, 80), -0.0621, (-0.1240, -0.0054), 4)],
)
def test_tangos_interval_is_that_of_published_examples(counts, difference, interval, digits):
    change = PairedDifference(*counts)
    low, high = change.interval()
    assert round(-change.rate, digits) == difference
    assert (round(-high, digits), round(-low, digits)) == interval


@pytest.mark.parametrize("of", [1, 20, 500])
def test_where_nothing_or_everything_has_changed_the_ends_are_known(of):
    """There the score test's equation is solved by hand, as for Wilson's interval of 0 out of so many."""
    least = Proportion(0, of).high
    for same in (PairedDifference(of, 0, 0, 0), PairedDifference(of // 2, 0, 0, of - of // 2)):
        assert same.interval() == pytest.approx((-least, least))
    assert PairedDifference(0, 0, of, 0).interval()[1] == 1.0
    assert PairedDifference(0, of, 0, 0).interval()[0] == -1.0


def test_mcnemars_test_counts_throws_of_a_coin():
    assert PairedDifference(40, 0, 5, 3).p == pytest.approx(2 / 2**5)
    assert PairedDifference(40, 1, 5, 3).p == pytest.approx(2 * (1 + 6) / 2**6)
    assert PairedDifference(40, 3, 3, 3).p == 1.0
    assert PairedDifference(40, 0, 0, 3).p == 1.0
    assert PairedDifference(0, 16, 2, 5).p == PairedDifference(9, 2, 16, 1).p


def test_nothing_changed_and_nothing_looked_at():
    same = PairedDifference(90, 0, 0, 10)
    low, high = same.interval()
    assert same.rate == 0.0
    assert low == pytest.approx(-high)
    assert PairedDifference(0, 0, 0, 0).interval() == (-1.0, 1.0)
    assert math.isnan(PairedDifference(0, 0, 0, 0).rate)


def test_what_is_gained_one_way_is_lost_the_other():
    for both, lost, gained, neither in itertools.product((0, 1, 7), repeat=4):
        if both + lost + gained + neither:
            low, high = PairedDifference(both, lost, gained, neither).interval()
            back = PairedDifference(both, gained, lost, neither).interval()
            assert (low, high) == pytest.approx((-back[1], -back[0]))
            assert -1 - 1e-12 <= low <= (gained - lost) / (both + lost + gained + neither) <= high <= 1 + 1e-12


# Shares of trials that are lost and gained: few of one kind, few of both, many.
@pytest.mark.parametrize(
    "shares", [(0.02, 0.0001), (0.03, 0.01), (0.05, 0.001), (0.05, 0.03), (0.1, 0.02), (0.1, 0.1), (0.02, 0.3)]
)
@pytest.mark.parametrize("trials", [50, 100])
def test_the_interval_lies_above_the_truth_once_in_40_times(shares, trials):
    """Over all that can happen, each with its probability. So often does a model pass a gate that it is to fail."""
    lost, gained = shares
    logs = np.log([lost, gained, 1 - lost - gained])
    above = below = 0.0
    for first, second in itertools.product(range(trials + 1), repeat=2):
        cells = (first, second, trials - first - second)
        if cells[2] < 0:
            continue
        likely = math.lgamma(trials + 1) - sum(math.lgamma(cell + 1) for cell in cells) + float(logs @ np.array(cells))
        if likely > -12:
            low, high = PairedDifference(cells[2], first, second, 0).interval()
            above += math.exp(likely) * (low > gained - lost)
            below += math.exp(likely) * (high < gained - lost)
    assert above < 0.03
    assert below < 0.04
    assert above + below < 0.06
