"""SIGINT and SIGTERM end a command at once; all of it in processes of their own."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from advkeras.cli.signals import ends_at_once

REPOSITORY = Path(__file__).parents[2]
# A mutex that is locked twice keeps the main thread within C, and signals do not wake it up.
BLOCKED = """
import ctypes, os, signal, sys
from advkeras.cli import signals
mutex, libc = ctypes.create_string_buffer(128), ctypes.CDLL(None)
libc.pthread_mutex_lock(mutex)
@signals.ends_at_once("stopped: go on")
def command():
    {prepare}
    print("ready", flush=True)
    libc.pthread_mutex_lock(mutex)
command()
"""
FULL_STDERR = "signals._SECONDS_TO_TELL = {seconds}; os.write(2, b'x' * 65536)"

FORKED = """
    up, say = os.pipe()
    child = os.fork()
    if not child:
        os.write(say, b"up")
        signal.pause()
    os.read(up, 2)
    os.kill(child, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
"""


def start(prepare: str = "pass") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED.format(prepare=prepare)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_is_within_c_with_one_line(number, code):
    process = start()
    process.send_signal(number)
    _, error = process.communicate(timeout=5)
    assert (process.returncode, error) == (code, "stopped: go on\n")


def test_the_line_is_told_while_standard_error_is_lent_to_others():
    process = start("os.dup2(os.open(os.devnull, os.O_WRONLY), 2)")
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=5)
    assert (process.returncode, error) == (143, "stopped: go on\n")


def test_a_line_that_cannot_be_written_is_not_waited_for():
    process = start(FULL_STDERR.format(seconds=0.1))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 143


def test_a_second_signal_ends_at_once():
    process = start(FULL_STDERR.format(seconds=600))
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 143


def test_a_fork_that_is_ended_does_not_end_its_parent():
    process = start(FORKED)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=5)[1] == "stopped: go on\n"


def test_afterwards_signals_do_what_they_did():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with ends_at_once(""):
        assert signal.getsignal(signal.SIGTERM) not in handlers
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert signal.set_wakeup_fd(-1) == -1


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def look():
        with ends_at_once(""):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
