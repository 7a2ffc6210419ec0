"""Ends a long command at once when it is told to stop, even while TensorFlow's C++ has the main thread."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from advkeras.cli.console import err

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_SECONDS_TO_TELL = 2.0


@contextmanager
def ends_at_once(message: str) -> Iterator[None]:
    """On SIGINT (Ctrl-C) or SIGTERM prints a line and ends the process with 130 or 143; on a second one without a line.

    Python runs its handlers between two steps of the main thread, and so not within a graph call of minutes. What
    waits here for signals is a thread. Nothing is cleaned up: files have to be written whole or not at all
    (:mod:`advkeras.files`). It decorates a command, too. Outside the main thread it does nothing.

    Args:
        message: the line, which says how to go on.

    Example:
        >>> @ends_at_once("stopped: give the same command again to go on")
        ... def command() -> None: ...
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with ExitStack() as undo:
        # What is lent to others as file 2 in between, for example while TensorFlow is imported, is not where to print.
        stderr = os.dup(2)
        undo.callback(os.close, stderr)
        received, sent = socket.socketpair()
        sent.setblocking(False)
        watcher = threading.Thread(target=_watch, args=(received, stderr, message), daemon=True)
        watcher.start()
        undo.callback(watcher.join)
        undo.callback(sent.close)  # which ends the watcher
        undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(sent.fileno(), warn_on_full_buffer=False))
        for number in _STOPPING:
            before = signal.signal(number, _left_to_the_watcher)
            undo.callback(signal.signal, number, before or signal.SIG_DFL)
        yield


def _left_to_the_watcher(number: int, frame: Any) -> None:
    """Without a handler of Python's own there is no wake-up."""


def _end_forks_alone() -> None:
    """A fork shares the socket: what ends it would end its parent, too."""
    if signal.getsignal(signal.SIGTERM) is _left_to_the_watcher:
        signal.set_wakeup_fd(-1)
        for number in _STOPPING:
            signal.signal(number, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_forks_alone)


def _watch(received: socket.socket, stderr: int, message: str) -> None:
    with received:
        while number := received.recv(1):
            if number[0] in _STOPPING:
                break
        else:
            return
        code = 128 + number[0]
        # A line that cannot be written, into a full pipe, say, is not waited for.
        threading.Thread(target=_tell, args=(stderr, message, code), daemon=True).start()
        received.settimeout(_SECONDS_TO_TELL)
        with suppress(TimeoutError):
            received.recv(1)
        os._exit(code)


def _tell(stderr: int, message: str, code: int) -> None:
    os.dup2(stderr, 2)
    err.show_cursor()
    err.print(message, soft_wrap=True)
    os._exit(code)
