"""What a server must bear: many requests at once, and large votes in little memory."""

import threading
from pathlib import Path

import numpy as np
import pytest

from advkeras import regions
from advkeras.models import Classifier
from advkeras.regions.voting import RegionVote
from advkeras.serving import signatures
from advkeras.serving.c_api import CApiProcess
from advkeras.serving.clients import connect
from advkeras.serving.export import export
from advkeras.serving.probe import measure_load
from advkeras.serving.verify import Server, split_images

from .conftest import serving

THREADS, REQUESTS, BATCH = 4, 2000, 8


def exported(natural: Classifier, parent: Path, samples: int) -> Path:
    return export(natural, parent, vote=RegionVote(region=regions.Hypercube(0.3), samples=samples))


def resident(pid: int) -> int:
    """Memory of a process, in pages."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


@pytest.mark.slow
def test_two_thousand_requests_at_four_at_a_time(natural, tmp_path):
    exported(natural, tmp_path / "mnist", samples=100)
    images = split_images(natural, RegionVote(region=regions.Hypercube(0.3)), BATCH)
    votes, memory, lock = {}, [], threading.Lock()
    with serving(f"mnist={tmp_path / 'mnist'}") as addresses:

        def keep(number, answer):
            with lock:
                votes[number] = answer["votes"].tobytes()
                memory.append(resident(addresses.pid))

        load = measure_load(
            lambda: connect(addresses.grpc, "mnist"),
            lambda number: {"images": images, "seed": number * BATCH + np.arange(BATCH, dtype=np.int32)},
            signature="region_seeded",
            threads=THREADS,
            requests=REQUESTS,
            batch_size=BATCH,
            keep=keep,
        )
    assert load.errors == 0, load.first_error
    assert len(set(votes.values())) == REQUESTS
    first, last = np.median(memory[:100]), np.median(memory[-100:])
    print(f"\n{load}\nmemory of the last 100 requests over that of the first: {last / first:.4f}")
    assert last < 1.05 * first


@pytest.mark.slow
def test_a_thousand_points_for_each_of_64_images_take_little_memory(natural, sample, tmp_path):
    folder = exported(natural, tmp_path / "mnist", samples=1000)
    with CApiProcess(folder) as process:
        answer = Server(process.run, signatures.signatures_of(folder))("region", {"images": sample.images[:64]})
        peak = process.memory()[1]
    print(f"\npeak {peak / 1e6:.0f} MB")
    np.testing.assert_array_equal(answer["votes"].sum(axis=1), 1000)
    assert peak < 800e6
