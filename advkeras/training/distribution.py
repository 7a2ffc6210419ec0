"""On how many devices and machines a training runs."""

import json
import os
from typing import Any, Literal, get_args

import tensorflow as tf

from advkeras.errors import InvalidInputError

Strategy = Literal["none", "mirrored", "multiworker"]


def strategy(name: str) -> Any:
    """The tf.distribute strategy of a name. Several workers must be set up before TensorFlow is used for anything else.

    Args:
        name: ``"none"``; ``"mirrored"``, all GPUs of this machine, or, where there is none, all its logical CPUs;
            ``"multiworker"``, all machines that the environment variable TF_CONFIG names, each running the same
            command with its own index.

    Raises:
        InvalidInputError: if there is no such strategy, or TF_CONFIG does not say which workers there are.
    """
    if name not in get_args(Strategy):
        raise InvalidInputError(f"unknown strategy {name!r}: known are {', '.join(get_args(Strategy))}")
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, index = config["cluster"]["worker"], config["task"]["index"]
        known = config["task"]["type"] == "worker" and 0 <= int(index) < len(workers)
    except (KeyError, ValueError, TypeError):
        known = False
    if not known:
        raise InvalidInputError(
            "--strategy multiworker needs the environment variable TF_CONFIG on each machine, for example "
            '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {os.environ.get('TF_CONFIG', 'nothing')}"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def worker(chosen: Any) -> int:
    """The number of this worker; 0, the chief, writes what the training has made."""
    resolver = chosen.cluster_resolver
    return int(resolver.task_id or 0) if resolver is not None else 0
