"""Commands in processes of their own that start at once: children of one that has imported TensorFlow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
# It has not run anything in TensorFlow, which starts no threads before that; so it may fork.
SERVER = """
import json, os, signal, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow, keras, advkeras.attacks, advkeras.cli, advkeras.evaluation.detection, advkeras.evaluation.runner
import advkeras.training.trainer
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        log = os.open(asked["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["advkeras", *asked["arguments"]]
        from advkeras.cli import main
        main()
    print(child, file=answers, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


class Zygote:
    """Runs ``advkeras`` commands one after the other, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_NUM_INTRAOP_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()

    @property
    def said(self) -> str:
        """What the last command printed."""
        return self._log.read_text()

    def run(self, *arguments: object, kill_when: Callable[[float], bool] | None = None) -> tuple[int, float]:
        """Runs a command; kills it when a function of the seconds since its start says so, if it is still running.

        Returns:
            Its exit code, -9 where it was killed, and the seconds that it took.
        """
        self._log.unlink(missing_ok=True)
        print(
            json.dumps({"arguments": list(map(str, arguments)), "log": str(self._log)}),
            file=self._server.stdin,
            flush=True,
        )
        child, start = int(self._server.stdout.readline()), time.monotonic()
        if kill_when is not None:
            while _is_running(child) and not kill_when(time.monotonic() - start):
                time.sleep(0.01)
            if _is_running(child):
                os.kill(child, signal.SIGKILL)
        return int(self._server.stdout.readline()), time.monotonic() - start


def _is_running(process: int) -> bool:
    """Whether a process has not ended; it may not have been waited for yet."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
