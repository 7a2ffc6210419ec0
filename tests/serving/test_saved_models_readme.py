"""saved_models/README.md: its calls are run as they are printed, its figures are the cards'."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from advkeras.models import zoo
from advkeras.serving.signatures import BYTES, DEFAULT, REGION, REGION_SEEDED

from .conftest import serving

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "saved_models" / "README.md"
# Name the addresses of a server of the zoo; otherwise the stand-in is started.
REST, GRPC = "ADVKERAS_SERVING_REST", "ADVKERAS_SERVING_GRPC"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Where the server is that the README knows as localhost:8501 and localhost:8500."""
    if REST in os.environ or GRPC in os.environ:
        yield {"localhost:8501": os.environ[REST], "localhost:8500": os.environ[GRPC]}
        return
    with serving(f"mnist-natural={zoo.path('mnist-natural')}") as found:
        yield {"localhost:8501": found.rest, "localhost:8500": found.grpc}


def output_of(addresses: dict[str, str], folder: Path, *command: str) -> str:
    """What a command prints whose last word is a script of the README's."""
    script = command[-1]
    for printed, address in addresses.items():
        assert printed in README.read_text()
        script = script.replace(printed, address.split("://")[1])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    finished = subprocess.run(
        [*command[:-1], script],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's REST calls are made by curl")
def test_the_rest_calls_answer(addresses, natural, sample, tmp_path):
    script = "\n".join(blocks("bash"))
    printed = output_of(addresses, tmp_path, "bash", "-euo", "pipefail", "-c", script)
    answers, decoder = [], json.JSONDecoder()
    while printed := printed.lstrip():
        answer, end = decoder.raw_decode(printed)
        answers.append(answer["outputs"])
        printed = printed[end:]
    point, region, seeded, picture = answers
    expected = natural.predict(sample.images[:8]).tolist()
    assert [answer["class"] for answer in (point, region, seeded)] == [expected] * 3
    assert picture["class"] == expected[:1]
    np.testing.assert_allclose(point["logits"], natural.logits(sample.images[:8]), rtol=1e-4, atol=1e-4)
    for answer in (region, seeded):
        votes = np.array(answer["votes"])
        assert (votes.argmax(axis=1) == expected).all()
        # More than half of 100 decide a vote.
        assert ((votes.sum(axis=1) > 50) & (votes.sum(axis=1) <= 100)).all()
        np.testing.assert_allclose(answer["agreement"], votes.max(axis=1) / votes.sum(axis=1), rtol=1e-6)


def test_the_grpc_calls_answer(addresses, natural, sample, tmp_path):
    (script,) = blocks("python")
    point, agreement, seeded, picture = output_of(addresses, tmp_path, sys.executable, "-c", script).splitlines()
    expected = natural.predict(sample.images[:8])
    assert (point, seeded, picture) == (str(expected), str(expected), str(expected[:1]))
    assert re.fullmatch(r"\[(\s*[01]\.\d*)+\]", agreement)


def test_every_signature_is_called_both_ways():
    for text in ("\n".join(blocks("bash")), *blocks("python")):
        assert all(f'"{name}"' in text for name in (BYTES, REGION, REGION_SEEDED))
    assert DEFAULT in blocks("python")[0]


@pytest.mark.parametrize("name", zoo.names())
def test_the_figures_are_the_cards(name):
    card = zoo.card(name)
    low, high = (f"{bound:g}" for bound in card.bounds)
    benign, pgd = (
        f"{100 * share['rate']:.2f} ({share['count']:,} of {share['of']:,})"
        for share in (card.accuracies["benign"], card.accuracies["pgd"])
    )
    attack = card.accuracies["pgd"]["attack"]
    cells = (f"`{name}`", card.dataset, card.defense, f"{low} to {high}", benign)
    row = f"| {' | '.join(cells)} | {pgd}, epsilon {attack['epsilon']:g}, {attack['iterations']} steps |"
    assert row in README.read_text().splitlines()
    region = card.serving["region"]
    assert f"up to {region['samples']} points of a {region['region']} around each image" in README.read_text()


def test_docker_run_starts_the_server_of_compose():
    serving_service = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]["serving"]
    assert f" {serving_service['image']} {serving_service['command'][0]}\n" in README.read_text()
