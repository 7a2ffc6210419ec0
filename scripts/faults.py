"""Puts known faults into the code, one at a time, and tells which of them the tests notice.

    python scripts/faults.py [WORD ...]

Each fault is a line or two of a kind that once went unnoticed. It is put into a copy of the checkout, and the tests
beside it are run there; words choose among the faults. The exit code is the number of faults that go unnoticed: some
ten minutes on two cores.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]


class Fault(NamedTuple):
    """One change that makes the code wrong.

    Attributes:
        what: it does, in words.
        file: that is changed, below advkeras/.
        right: what stands there, once.
        wrong: what is put in its place.
        tests: that are to fail.
    """

    what: str
    file: str
    right: str
    wrong: str
    tests: str


FAULTS = (
    Fault(
        "a digest in a plan leads out of the run's folder",
        "runs/store.py",
        "        if not is_digest(digest):\n            return None\n",
        "",
        "tests/test_names.py",
    ),
    Fault(
        "a file of a run lies where its name says",
        "runs/store.py",
        "        if not inside:\n",
        "        if False:\n",
        "tests/test_names.py",
    ),
    Fault(
        "escape sequences reach the terminal",
        "cli/console.py",
        "[plain_text(line, _LINE) for line in",
        "[line for line in",
        "tests/test_names.py",
    ),
    Fault(
        "an array is given as much room as its header claims",
        "npz.py",
        "    if claimed > there:\n",
        "    if False:\n",
        "tests/datasets/test_hostile_files.py",
    ),
    Fault(
        "what an archive unpacks to is not limited",
        "datasets/archives.py",
        "            size += member.size\n",
        "",
        "tests/datasets/test_hostile_files.py",
    ),
    Fault(
        "a parameter may be infinite",
        "parameters.py",
        "isinstance(value, int) or math.isfinite(value)",
        "True",
        "tests/test_parameters.py",
    ),
    Fault(
        "a requirement is judged by the rate",
        "evaluation/requirements.py",
        "low, high = measured.interval()\n        if",
        "low = high = measured.rate\n        if",
        "tests/evaluation/test_requirements.py",
    ),
    Fault(
        "a training that has ended in NaN is written",
        "training/trainer.py",
        "        EndsAtNaN(),\n",
        "",
        "tests/training/test_training.py",
    ),
    Fault(
        "Auto-PGD's step is never halved",
        "searches/auto_step.py",
        "step=tf.where(halve, state.step / 2, state.step)",
        "step=state.step",
        "tests/attacks/test_auto_attack.py",
    ),
    Fault(
        "FAB does not go back after an example",
        "searches/fast_boundary.py",
        "tf.where(per_image(fooled), state.images + _BACK * (ahead - state.images), ahead)",
        "ahead",
        "tests/attacks/test_auto_attack.py",
    ),
    Fault(
        "FAB goes towards the class of the largest logit instead of the nearest",
        "searches/fast_boundary.py",
        "nearer = ahead(met) < ahead(kept)",
        "nearer = tf.abs(met.value) < tf.abs(kept.value)",
        "tests/attacks/test_auto_attack.py",
    ),
    Fault(
        "gradients of answers at random are those of the first",
        "searches/auto_step.py",
        "lambda taken, *_: taken < samples",
        "lambda taken, *_: taken < 2",
        "tests/attacks/test_auto_attack.py",
    ),
    Fault(
        "one answer at random says whether an image is fooled",
        "attacks/averaged.py",
        "for _ in range(self.answers))",
        "for _ in range(self.answers)[:1])",
        "tests/attacks/test_auto_attack.py",
    ),
    Fault(
        "the quick attack goes on with images that it has fooled",
        "attacks/quick.py",
        "left = found.best_norm[images] > epsilon",
        "left = found.best_norm[images] > 0",
        "tests/attacks/test_quick.py",
    ),
    Fault(
        "the quick attack's second search aims at nothing",
        "attacks/quick.py",
        "second, number=1, aims=aims)",
        "second, number=1)",
        "tests/attacks/test_quick.py",
    ),
    Fault(
        "a Keras file is trusted",
        "models/networks.py",
        "safe_mode=not trust",
        "safe_mode=False",
        "tests/models/test_hostile_models.py",
    ),
    Fault(
        "the decoupled search keeps its last success instead of its nearest",
        "searches/decoupled_step.py",
        "better = reached & (distance < state.best_norm) & ~state.finished",
        "better = reached & ~state.finished",
        "tests/searches",
    ),
    Fault(
        "the penalty search keeps its last success instead of its nearest",
        "searches/penalty_search.py",
        "better = fooled & (distance < state.best_distance)",
        "better = fooled",
        "tests/searches",
    ),
    Fault(
        "projected gradient descent keeps its last iterate",
        "searches/projected_gradient.py",
        "higher = value > found.value",
        "higher = value > value - 1",
        "tests/searches",
    ),
    Fault(
        "verification ignores the confidence",
        "attacks/families.py",
        "fooled & (margins >= self.margin)",
        "fooled",
        "tests/attacks/test_verification.py",
    ),
    Fault(
        "OptMargin's verification does not clip members",
        "attacks/optmargin.py",
        "            if self.clip_members:\n                members = np.clip(members, *classifier.bounds)\n",
        "",
        "tests/attacks/test_verification.py",
    ),
    Fault(
        "OptRegion's last vote sees the first vote's points",
        "attacks/optregion.py",
        'self._votes(classifier, candidates, problem, "verification")',
        'self._votes(classifier, candidates, problem, "benign")',
        "tests/attacks/test_verification.py",
    ),
    Fault(
        "the penalty search never raises its lower bound",
        "searches/penalty_search.py",
        "lower = tf.where(over & ~state.succeeded, tf.maximum(state.lower, state.weight), state.lower)",
        "lower = state.lower",
        "tests/searches/test_penalty_search.py",
    ),
    Fault(
        "the penalty search never lowers its upper bound",
        "searches/penalty_search.py",
        "upper = tf.where(over & state.succeeded, tf.minimum(state.upper, state.weight), state.upper)",
        "upper = tf.where(over & state.succeeded, tf.maximum(state.upper, state.weight), state.upper)",
        "tests/searches/test_penalty_search.py",
    ),
    Fault(
        "the penalty search keeps Adam's moments for the next weight",
        "searches/penalty_search.py",
        "moment_1=tf.where(again, 0.0, state.moment_1)",
        "moment_1=state.moment_1",
        "tests/searches/test_penalty_search.py",
    ),
    Fault(
        "the penalty search never gives up",
        "searches/penalty_search.py",
        "given_up = look & (loss > _ABORT_SHARE * state.checked_loss)",
        "given_up = look & (loss < 0.0)",
        "tests/searches/test_penalty_search.py",
    ),
    Fault(
        "PGD in L2 projects everything onto the sphere",
        "searches/projected_gradient.py",
        "per_image(tf.minimum(1.0, tf.math.divide_no_nan(epsilon, length(offset))))",
        "per_image(tf.math.divide_no_nan(epsilon, length(offset)))",
        "tests/searches/test_best_of_all.py",
    ),
    Fault(
        "a ball's direction and length come from one seed",
        "regions/shapes.py",
        "None if seed is None else seed + 1, 0.0, 1.0",
        "None if seed is None else seed, 0.0, 1.0",
        "tests/test_voting.py",
    ),
    Fault(
        "images' seeds of a vote collide",
        "regions/voting.py",
        "chosen * (self.samples + 1) + start",
        "chosen + start",
        "tests/test_voting.py",
    ),
    Fault(
        "crafting updates batch normalisation",
        "training/adversarial_training.py",
        "return self.network(points, training=False)",
        "return self.network(points, training=True)",
        "tests/training/test_crafting.py",
    ),
    Fault(
        "every training step has the same random start",
        "training/adversarial_training.py",
        "tf.constant(self._start[1], tf.int32) + taken",
        "tf.constant(self._start[1], tf.int32)",
        "tests/training/test_crafting.py",
    ),
    Fault(
        "held out images are trained on",
        "training/trainer.py",
        "*_arrays(kept), batch_size=recipe.batch_size",
        "*_arrays(training_data), batch_size=recipe.batch_size",
        "tests/training/test_training.py",
    ),
    Fault(
        "agreement's threshold is fitted to the test part",
        "evaluation/detection_results.py",
        "found[kind].agreements[~found[kind].in_test]",
        "found[kind].agreements[found[kind].in_test]",
        "tests/evaluation/test_detection.py",
    ),
    Fault(
        "a damaged result is taken for whole",
        "runs/store.py",
        "(digest_of(identity), result.checksum) == (digest, checksum)",
        "digest_of(identity) == digest",
        "tests/runs/test_runs.py",
    ),
    Fault(
        "a unit does not depend on what it follows on",
        "runs/unit.py",
        '"follows": [unit.digest for unit in self.follows],',
        '"follows": [],',
        "tests/runs/test_runs.py",
    ),
    Fault(
        "a share computes what belongs to another",
        "runs/shard.py",
        "groups[root] % of == number - 1]",
        "groups[root] % of <= number - 1]",
        "tests/runs/test_studies.py",
    ),
    Fault(
        "rows of a model that has changed stand beside its new ones",
        "evaluation/planned.py",
        "elif known is not None and known.checksum == model.checksum:",
        "elif known is not None:",
        "tests/evaluation/test_run_folder.py",
    ),
    Fault(
        "an attack starts from its slice's images",
        "evaluation/runner.py",
        "attack.among(among)",
        "attack",
        "tests/evaluation/test_evaluation.py",
    ),
    Fault(
        "pixels that meet a bound are not made up for by the others",
        "searches/geometry.py",
        "_NORM_ROUNDS = 3",
        "_NORM_ROUNDS = 0",
        "tests/searches/test_geometry.py",
    ),
    Fault(
        "what rounding undoes is not pushed on",
        "attacks/rounding.py",
        "images + (1 + _PUSH) * (candidates[found] - images)",
        "candidates[found]",
        "tests/attacks/test_verification.py",
    ),
    Fault(
        "a probe believes one row of logits for all images",
        "serving/served.py",
        "or len(array) != images or",
        "or",
        "tests/serving/test_hostile.py",
    ),
    Fault(
        "a request takes longer than it may while bytes come",
        "serving/exchange.py",
        "left = self._deadline - time.monotonic()",
        "left = self._deadline + 5 - time.monotonic()",
        "tests/serving/test_hostile.py",
    ),
    Fault(
        "an answer has no largest size",
        "serving/exchange.py",
        "if self._room < 0:",
        "if False:",
        "tests/serving/test_hostile.py",
    ),
    Fault(
        "a curve takes images that are not classified for right",
        "evaluation/curve_fold.py",
        "np.where(right, least, 0.0)",
        "least",
        "tests/evaluation/test_curve.py",
    ),
    Fault(
        "the curve in L2 is in RMS",
        "evaluation/curve_fold.py",
        " * float(np.sqrt(asked.pixels))",
        "",
        "tests/evaluation/test_curve.py",
    ),
    Fault(
        "a curve's check takes every example within epsilon for a misclassified one",
        "evaluation/curve_fold.py",
        "part.right & ~(near & _fooled(found, part.labels))",
        "part.right & ~near",
        "tests/evaluation/test_curve.py",
    ),
    Fault(
        "curves of other images stand in one figure",
        "evaluation/curve_fold.py",
        "plan.models if plan.question == last.question else ()",
        "plan.models",
        "tests/evaluation/test_curve.py",
    ),
    Fault(
        "runs of other images are compared",
        "evaluation/comparison.py",
        "    if place is not None:\n",
        "    if False:\n",
        "tests/evaluation/test_comparison.py",
    ),
    Fault(
        "attacks with other parameters are compared",
        "evaluation/comparison.py",
        "elif changed := _changed(one.row.config, other.row.config):",
        "elif changed := []:",
        "tests/evaluation/test_comparison.py",
    ),
    Fault(
        "images gained count as lost",
        "evaluation/comparison.py",
        "(one & other, one & ~other, ~one & other, ~one & ~other)",
        "(one & other, ~one & other, one & ~other, ~one & ~other)",
        "tests/evaluation/test_comparison.py",
    ),
    Fault(
        "the interval of a difference forgets that a constraint moves the likeliest share",
        "proportion.py",
        "2 * lost + difference * (1 - difference)",
        "2 * lost",
        "tests/test_proportion.py",
    ),
    Fault(
        "pictures go farther than points where a distance cannot be reached",
        "searches/geometry.py",
        "2.0 if number < _NORM_ROUNDS else tf.where(reached > 0, 1.0, 2.0)",
        "2.0",
        "tests/searches/test_geometry.py",
    ),
    Fault(
        "export --verify does not see noise that is baked in",
        "serving/verify.py",
        "same < images",
        "same <= images",
        "tests/serving/test_export.py",
    ),
)


def noticed(fault: Fault, checkout: Path) -> bool:
    """Whether a test fails with the fault in a copy of the checkout, which is as it was afterwards."""
    file = checkout / "advkeras" / fault.file
    text = file.read_text()
    if text.count(fault.right) != 1:
        raise SystemExit(f"{fault.what}: {fault.file} has {text.count(fault.right)} times: {fault.right}")
    file.write_text(text.replace(fault.right, fault.wrong))
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *fault.tests.split()],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        file.write_text(text)
    if finished.returncode not in (0, 1):
        raise SystemExit(f"{fault.what}: the tests did not run:\n{finished.stdout}{finished.stderr}")
    return finished.returncode == 1


def main() -> int:
    """Tries the faults that the command line chooses."""
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        for fault in FAULTS:
            if not all(word in fault.what for word in sys.argv[1:]):
                continue
            found = noticed(fault, checkout)
            unnoticed += not found
            print("noticed" if found else "NOT NOTICED", "-", fault.what, flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
