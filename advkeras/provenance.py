"""What a figure was made with: versions of packages, the device, the command line."""

import platform
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from advkeras.record_types import Length

_PACKAGES = ("advkeras", "tensorflow", "keras", "tensorflow-datasets", "numpy")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What results were made with.

    Attributes:
        command: the command line.
        versions: of Python and of packages.
        device: the accelerator, or the processor and the number of cores.
        seconds: that the run took.
        finished: when, in ISO format.
    """

    command: str
    versions: dict[str, str]
    device: str
    seconds: Length
    finished: str


UNKNOWN = Provenance(command="", versions={}, device="", seconds=0.0, finished="")
"""Of results that are not there yet."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def device() -> str:
    """The accelerator that TensorFlow uses, or the processor and the number of cores."""
    import os

    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus)
    # Those that this process may use, where the system tells.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}"


def command_line() -> str:
    """The command that runs, with the program's name instead of its path."""
    program = Path(sys.argv[0])
    ours = program.name in ("advkeras", "cli.py") or program.parent.name == "advkeras"
    return shlex.join([*(["advkeras"] if ours else ["python", program.name]), *sys.argv[1:]])


def of_run(seconds: float) -> Provenance:
    """What the results of a run were made with.

    Args:
        seconds: that the run took.
    """
    return Provenance(
        command=command_line(),
        versions=versions(),
        device=device(),
        seconds=round(seconds, 1),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
