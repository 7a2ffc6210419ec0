"""How many images may go through a network at once: as many as a memory budget holds.

What a network needs for an image is not written anywhere: it is measured, once for each classifier, by the peak of the
process's memory, or of the accelerator's, while a gradient is taken.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from advkeras.limits import parse_size

# Images at once, at most: two cores are busy with as many, an accelerator takes more.
_MOST = {"CPU": 256, "GPU": 2_048}
# Without a budget: half of what is free, on a CPU no more than this.
_CPU_BUDGET = 2 * 2**30
# Images whose compiled gradients are measured together, and then twice as many.
_TRIED = 4
_SAMPLING_SECONDS = 5e-4
# Of a container, by the version of control groups.
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)

_given: list[int] = []


def set_budget(size: int | str | None) -> None:
    """Says how much memory this process may use for what goes through networks, beyond the networks themselves.

    It holds for classifiers that are made from now on.

    Args:
        size: in bytes, or as ``"2GB"``; None for the default: half of what is free, at most 2 GiB where there is no
            accelerator.

    Raises:
        InvalidInputError: if it is no such size, or nothing.
    """
    _given[:] = [] if size is None else [parse_size("memory", size)]


def budget() -> int:
    """How much memory this process may use for what goes through networks, in bytes."""
    if _given:
        return _given[0]
    return _free_of_gpu() // 2 if _on_gpu() else min(_free() // 2, _CPU_BUDGET)


def most() -> int:
    """Images at once, at most."""
    return _MOST["GPU" if _on_gpu() else "CPU"]


def images_at_once(function: Callable[[Any], Any], shape: tuple[int, int, int], *, gradients: bool) -> int:
    """How many images the budget holds while they go through a network, and back if it has gradients.

    Args:
        function: images (N, H, W, C) float32 to logits.
        shape: of an image.
        gradients: whether to measure a gradient by the pixels, or the forward pass alone.

    Returns:
        At least 1, and at most :func:`most`.
    """
    allowed, largest = budget(), most()
    run = _gradient(function) if gradients else function
    once = _peak(run, tf.zeros((1, *shape)))
    if once * largest <= allowed:
        return largest
    # A compiled gradient keeps less, but is not had at once.
    compiled = tf.function(run, input_signature=[tf.TensorSpec((None, *shape), tf.float32)], autograph=False)
    tried = min(allowed // (2 * once), _TRIED)
    if not tried:
        return max(1, allowed // once)
    # What the process has been given before and does not use makes growth look smaller, but not its slope.
    half, full = (_peak(compiled, tf.zeros((count, *shape))) for count in (tried, 2 * tried))
    each = max(full - half, full / 2, 1) / tried
    return int(np.clip(allowed // each, 1, largest))


def _gradient(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def gradient(images: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = function(images)
        return tape.gradient(logits, images)

    return gradient


def _on_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))


def _peak(run: Callable[[Any], Any], images: Any) -> int:
    """By how many bytes memory grows, at most, while a function runs on images (N, H, W, C)."""
    run(images[:1])  # What it needs but once is not counted.
    if _on_gpu():
        device = tf.config.list_logical_devices("GPU")[0].name
        before = tf.config.experimental.get_memory_info(device)["current"]
        tf.config.experimental.reset_memory_stats(device)
        run(images)
        return int(tf.config.experimental.get_memory_info(device)["peak"]) - int(before)
    _give_back()
    process = psutil.Process()
    before = process.memory_info().rss
    if _forget_peak():
        run(images)
        return _known_peak() - before
    most, stopped = before, threading.Event()

    def watch() -> None:
        nonlocal most
        while not stopped.is_set():
            most = max(most, process.memory_info().rss)
            time.sleep(_SAMPLING_SECONDS)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        run(images)
    finally:
        stopped.set()
        watching.join()
    return most - before


def _forget_peak() -> bool:
    """Lets the system begin anew with the peak of this process's memory; whether it can. Linux does."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _known_peak() > 0
    except (OSError, LookupError):
        return False


def _known_peak() -> int:
    """The peak of this process's memory, in bytes, as Linux keeps it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1_024


def _give_back() -> None:
    """What was freed goes back to the system, so that using it again counts; the C library of Linux alone has that."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _free() -> int:
    """Memory that this process may still take, in bytes: of the machine, or of the container that it runs in."""
    found = [psutil.virtual_memory().available]
    for limit, used in _LIMITS:
        # There is no such file outside of a container, and "max" in it where nothing is set.
        with suppress(OSError, ValueError):
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(0, min(found))


def _free_of_gpu() -> int:
    from tensorflow.python.client import device_lib

    return int(min(each.memory_limit for each in device_lib.list_local_devices() if each.device_type == "GPU"))
