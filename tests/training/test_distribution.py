"""Workers that come together, agree, and are lost; without a second process."""

import json
import socket
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from advkeras.errors import AdvkerasError, InvalidInputError
from advkeras.training import distribution

ONE = tf.distribute.MirroredStrategy(["CPU:0"])


@pytest.fixture
def workers(monkeypatch):
    """The addresses of three workers: this one, one that answers, and one that does not."""
    monkeypatch.setattr(distribution, "_NAMED_EVERY", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as answering, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (answering, silent)]
        cluster = {"worker": ["127.0.0.1:1", *addresses]}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
        yield cluster["worker"]


@pytest.mark.parametrize("workers_said", ["[]", '"ab"', "[1, 2]", '{"0": "a"}', "7", "null"])
@pytest.mark.parametrize("index", ["0", "-1", "9", "Infinity", '"x"', "[]"])
def test_what_names_no_workers_is_refused(workers_said, index, monkeypatch):
    task = f'{{"type": "worker", "index": {index}}}'
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {{"worker": {workers_said}}}, "task": {task}}}')
    with pytest.raises(InvalidInputError, match="needs the environment variable TF_CONFIG"):
        distribution.strategy("multiworker")


@pytest.mark.parametrize("kind", [None, "evaluator", "zebra"])
def test_what_is_no_workers_task_is_refused(kind, monkeypatch):
    monkeypatch.setattr(distribution, "_build", lambda: "built")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if kind:
        task = {"type": kind, "index": 0}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": task}))
    with pytest.raises(InvalidInputError, match=f"Received: {'{' if kind else 'nothing'}"):
        distribution.strategy("multiworker")


@pytest.mark.parametrize(("task_id", "number"), [(None, 0), (0, 0), (1, 1)])
def test_a_worker_has_its_tasks_number(task_id, number):
    assert distribution.worker(SimpleNamespace(cluster_resolver=SimpleNamespace(task_id=task_id))) == number


def test_one_machine_is_trained_on_with_all_its_devices():
    assert distribution.strategy("none") is tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    assert distribution.strategy("mirrored").num_replicas_in_sync == len(devices)


def test_a_worker_that_is_missing_is_named_and_given_up(workers, monkeypatch):
    monkeypatch.setattr(distribution, "_build", threading.Event().wait)
    lines = []
    with pytest.raises(AdvkerasError, match=f"^worker 2 \\({workers[2]}\\) has not come; 0.3 s are over"):
        distribution.strategy("multiworker", wait=0.3, report=lines.append)
    assert lines
    assert set(lines) == {f"worker 2 ({workers[2]}) has not come; waiting for up to 0.3 s (--wait)"}


def test_workers_that_answer_are_not_called_missing(workers):
    assert distribution._missing(workers[:2], 0).startswith("all workers answer")
    assert distribution._missing([*workers, "nowhere"], 1) == (
        f"worker 0 (127.0.0.1:1), worker 2 ({workers[2]}), worker 3 (nowhere) have not come"
    )


def test_workers_that_come_late_are_waited_for(workers, monkeypatch):
    named = threading.Event()
    monkeypatch.setattr(distribution, "_build", lambda: named.wait() and "built")
    assert distribution.strategy("multiworker", wait=60, report=lambda line: named.set()) == "built"


def test_what_tensorflow_says_against_the_workers_is_one_line(workers, monkeypatch):
    def taken():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server\nand more")

    monkeypatch.setattr(distribution, "_build", taken)
    with pytest.raises(AdvkerasError, match="do not come together: Could not start gRPC server$"):
        distribution.strategy("multiworker")


def test_a_wait_of_no_seconds_is_refused(workers):
    with pytest.raises(InvalidInputError, match="wait=0"):
        distribution.strategy("multiworker", wait=0)


def test_a_number_is_in_common_if_all_replicas_have_it(monkeypatch):
    assert distribution.in_common(ONE, [0, 2, 3], 5) == 3
    assert distribution.in_common(ONE, [], 5) == -1
    other = np.array([1, 1, 1, 0, 0])
    monkeypatch.setattr(distribution, "_total", lambda chosen, own: np.asarray(own) + other)
    assert distribution.in_common(SimpleNamespace(num_replicas_in_sync=2), [0, 2, 3], 5) == 2


@pytest.mark.parametrize("index", [0, 1])
def test_what_counts_is_what_the_chief_has(monkeypatch, index):
    assert distribution.of_the_chief(ONE, (0.98, 0.1)) == [0.98, 0.1]
    # Of two workers with two replicas each.
    sent = {}

    def total(chosen, own):
        sent[index] = own
        return np.array([1.0, 0.5, 2.0])

    monkeypatch.setattr(distribution, "has_workers", lambda chosen: True)
    monkeypatch.setattr(distribution, "_total", total)
    monkeypatch.setattr(distribution, "worker", lambda chosen: index)
    assert distribution.of_the_chief(ONE, (0.5, 0.25)) == [0.5, 0.25]
    assert sent[index] == [[0.5, 0.25, 1.0], [0.0, 0.0, 0.0]][index]


@pytest.mark.parametrize(("several", "error"), [(True, AdvkerasError), (False, tf.errors.UnavailableError)])
def test_the_loss_of_a_worker_says_what_to_do(monkeypatch, several, error):
    monkeypatch.setattr(distribution, "has_workers", lambda chosen: several)
    says = "same command again on all workers" if several else "aborted"
    with pytest.raises(error, match=says), distribution.naming_lost_workers(ONE):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")


def test_an_error_of_a_worker_of_its_own_is_not_called_a_loss(monkeypatch):
    monkeypatch.setattr(distribution, "has_workers", lambda chosen: True)
    with pytest.raises(tf.errors.ResourceExhaustedError), distribution.naming_lost_workers(ONE):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
