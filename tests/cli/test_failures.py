"""What a user is told when something fails that nobody has foreseen, and where it comes from for those who ask."""

import errno
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from advkeras.cli import failures
from advkeras.errors import AdvkerasError

from ..commands import PROGRAM


class ResourceExhaustedError(Exception):
    """As TensorFlow's is called."""


@pytest.fixture
def failing(monkeypatch):
    """The command line, whose report raises an error."""
    monkeypatch.setenv(failures.DEBUG, "")

    def run(error: BaseException, *arguments: str):
        def raises(*_: object) -> None:
            raise error

        monkeypatch.setattr("advkeras.reporting.documents.read_documents", raises)
        return CliRunner().invoke(PROGRAM, ["report", "RUN", *arguments])

    return run


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            KeyError("seconds"),
            "a fault of advkeras: KeyError: 'seconds'. advkeras --debug COMMAND shows where; please ",
        ),
        (OSError(28, "No space left on device", "RUN/x"), "the system says: No space left on device: RUN/x"),
        (MemoryError(), "not enough memory: give less at once (--memory 1GB). Received: MemoryError"),
        (ResourceExhaustedError("OOM when\nallocating"), "not enough memory: give less at once (--memory 1GB). Rece"),
        (AdvkerasError("no\nsuch thing"), "no such thing"),
    ],
)
def test_any_error_is_one_line(failing, error, line):
    result = failing(error)
    assert result.exit_code == 1
    (said,) = result.stderr.splitlines()
    assert said.startswith(f"Error: {line}")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EROFS])
def test_a_place_that_cannot_be_is_wrong_input(failing, number):
    result = failing(OSError(number, os.strerror(number), "x\x1b" * 999))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: the system says: {os.strerror(number)}: x\\x1bx")
    assert len(result.stderr) < 400


def test_debug_shows_where_an_error_comes_from(failing, monkeypatch):
    shown = failing(KeyError("seconds"), "--debug").stderr
    assert "Traceback (most recent call last)" in shown
    assert "in raises" in shown
    assert shown.splitlines()[-1].startswith("Error: a fault of advkeras: KeyError")
    monkeypatch.setenv(failures.DEBUG, "1")
    assert "Traceback" in failing(AdvkerasError("no such thing")).stderr
    monkeypatch.setenv(failures.DEBUG, "0")
    assert "Traceback" not in failing(AdvkerasError("no such thing")).stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    shown = "from advkeras.cli import main; main()"
    command = [sys.executable, "-c", shown, "models", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
