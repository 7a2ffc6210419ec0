"""The check with twice the work: whether an attack had ended, and how the tables say it."""

from dataclasses import replace

from advkeras.datasets import MNIST
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import Convergence, read
from advkeras.evaluation.runner import evaluate
from advkeras.evaluation.units import FACTOR
from advkeras.reporting.tables import markdown_tables


def test_a_row_whose_attack_had_not_ended_is_marked(natural, sample, tmp_path):
    data = sample.first(40)
    hasty = Protocol.build(
        MNIST, attacks=["pgd", "optbrittle"], parameters={"optbrittle": {"gradients": 4}}, epsilon=0.1
    )
    hasty = replace(hasty, region_samples=10)
    rows = evaluate([natural], data, MNIST, hasty, tmp_path).models[0].rows
    assert rows[1].convergence.converged
    assert rows[1].convergence.distortion is None
    again = rows[2].convergence
    assert not again.converged
    assert again.setting == "optbrittle.gradients=8"
    assert again.images == 3
    assert FACTOR * again.images <= 0.2 * len(data), "a fifth of the work at most"
    assert again.distortion_again < 0.95 * again.distortion
    found = read(tmp_path)
    assert found.models[0].rows[2].convergence == again
    text = markdown_tables(found)
    assert "| OptBrittle† |" in text
    assert "| PGD |" in text
    assert "† finds more, or 5% nearer, with twice the work on 3 of the images: OptBrittle on mnist-natural" in text
    assert "(--set optbrittle.gradients=8)" in text
    alone = Protocol.build(MNIST, attacks=["optbrittle"], parameters={"optbrittle": {"gradients": 4}})
    alone = replace(alone, region_samples=10)
    unchecked = evaluate([natural], data, MNIST, alone, tmp_path / "unchecked", convergence=False).models[0].rows
    assert [row.convergence for row in unchecked] == [None] * 2
    assert unchecked[1].distortion == rows[2].distortion


def test_more_successes_are_not_converged_either():
    figures = {
        "setting": "pgd.iterations=80",
        "images": 8,
        "distortion": None,
        "distortion_again": None,
        "seconds": 1.0,
    }
    assert Convergence(success=3, success_again=3, **figures).converged
    assert not Convergence(success=3, success_again=4, **figures).converged
