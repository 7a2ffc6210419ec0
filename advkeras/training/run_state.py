"""The state of a training run on disk: what it was begun with, the figures of its epochs, and where it can go on."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from advkeras import records
from advkeras.datasets import LabelledImages
from advkeras.errors import InvalidInputError
from advkeras.files import require_space, scratch_prefix, sweep, write_atomically, write_json
from advkeras.training.recipes import TrainingRecipe

_CLAIM, _FIGURES, _EPOCHS = "recipe.json", "history.json", "epochs"
_BEST, _WEIGHTS = "best.weights.h5", "state.weights.h5"
MONITORED = "val_robust_accuracy"
_DIGITS = 5
# Of a weight, as it is kept.
_BYTES = 4


def begun(folder: Path) -> bool:
    """Whether a folder holds a run that is unfinished."""
    return (folder / _CLAIM).is_file()


class RunState:
    """A folder that holds the state of a run; an epoch counts once its figures and then its weights are there.

    Args:
        folder: which is made.
        recipe: of the run.
        data: that it trains on.

    Raises:
        InvalidInputError: if another recipe or other images have an unfinished run there.
    """

    def __init__(self, folder: Path, recipe: TrainingRecipe, data: LabelledImages) -> None:
        self.folder = folder
        self._patience = recipe.patience
        images = hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest()
        claim = json.dumps({"recipe": asdict(recipe), "images": images}, indent=2)
        path = folder / _CLAIM
        if not begun(folder):
            # What a finished run has left.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_atomically(path, claim.encode())
        elif path.read_text() != claim:
            raise InvalidInputError(
                f"{folder} holds an unfinished run of another recipe or of other images: finish that one, give another "
                "--output, or delete the folder"
            )
        for each in (folder, folder / _EPOCHS):
            sweep(each)
        self.history: list[dict[str, float]] = []
        """Figures of each epoch so far."""
        if (folder / _FIGURES).is_file():
            self.history = records.read(
                folder / _FIGURES, _FIGURES, list[dict[str, Any]], what="the figures of a training run's epochs"
            )

    @property
    def best(self) -> Path:
        """Where the weights of the best epoch are kept."""
        return self.folder / _BEST

    @property
    def best_so_far(self) -> float:
        """The largest figure that epochs are judged by; -1 before the first one."""
        return max((epoch[MONITORED] for epoch in self.history), default=-1.0)

    @property
    def stopped(self) -> bool:
        """Whether so many epochs in a row have brought nothing that training is to stop."""
        reached = [epoch[MONITORED] for epoch in self.history]
        if self._patience is None or not reached:
            return False
        return len(reached) - 1 - int(np.argmax(reached)) >= self._patience

    def kept(self) -> list[int]:
        """After how many epochs weights were kept whole, 0 included; damaged ones are removed."""
        kept = self.folder / _EPOCHS
        kept.mkdir(exist_ok=True)
        whole = [0]
        for path in kept.iterdir():
            if path.name.isdecimal() and int(path.name) <= len(self.history):
                try:
                    h5py.File(path / _WEIGHTS).close()
                except OSError:
                    shutil.rmtree(path)
                else:
                    whole.append(int(path.name))
        return sorted(whole)

    def restore(self, model: Any, epochs: int) -> None:
        """Loads the weights after so many epochs, and forgets those that followed.

        Args:
            model: with everything built, the optimiser included.
            epochs: one of :meth:`kept`.
        """
        if epochs:
            model.load_weights(self.folder / _EPOCHS / str(epochs) / _WEIGHTS)
        del self.history[epochs:]
        for path in (self.folder / _EPOCHS).iterdir():
            if path.name.isdecimal() and int(path.name) > epochs:
                shutil.rmtree(path)

    def finish(self) -> None:
        """Leaves the logs; the next run in this folder starts from the beginning."""
        shutil.rmtree(self.folder / _EPOCHS, ignore_errors=True)
        self.best.unlink(missing_ok=True)
        (self.folder / _CLAIM).unlink()


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the best epoch, whole at all times; comes after validation, and before the figures."""

    def __init__(self, state: RunState) -> None:
        super().__init__()
        self._state = state

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps what is better than everything before."""
        if logs is not None and round(float(logs[MONITORED]), _DIGITS) > self._state.best_so_far:
            scratch = self._state.folder / f"{scratch_prefix()}{_BEST}"
            _save_weights(self.model, scratch)
            scratch.rename(self._state.best)


class KeepFigures(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the figures of each epoch, and stops the training where patience has run out; comes after validation."""

    def __init__(self, state: RunState) -> None:
        super().__init__()
        self._state = state

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch's figures."""
        figures = {name: round(float(value), _DIGITS) for name, value in (logs or {}).items()}
        self._state.history.append({"epoch": epoch, **figures})
        write_json(self._state.folder / _FIGURES, self._state.history)
        if self._state.stopped:
            self.model.stop_training = True


class KeepWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps weights and the optimiser's state once an epoch's figures are there.

    That is when the next epoch begins and averaged weights have made room for the model's own again, or, after the
    last epoch, at its end.
    """

    def __init__(self, state: RunState) -> None:
        super().__init__()
        self._folder = state.folder / _EPOCHS
        self._done = len(state.history)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps what the epoch before has left."""
        if epoch > self._done:
            self._keep(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps what the last epoch leaves."""
        if epoch + 1 == self.params["epochs"] or self.model.stop_training:
            self._keep(epoch + 1)

    def _keep(self, epochs: int) -> None:
        before = [path for path in self._folder.iterdir() if path.name.isdecimal()]
        scratch = Path(tempfile.mkdtemp(prefix=scratch_prefix(), dir=self._folder))
        _save_weights(self.model, scratch / _WEIGHTS)
        scratch.rename(self._folder / str(epochs))
        self._done = epochs
        # The last but one stays, in case the last turns out to be damaged.
        for path in sorted(before, key=lambda path: int(path.name))[:-1]:
            shutil.rmtree(path)


def _save_weights(model: Any, path: Path) -> None:
    """Keeps weights and the optimiser's state, where there is room: HDF5 cannot close a file that finds none."""
    variables = [*model.weights, *(model.optimizer.variables if model.optimizer is not None else ())]
    require_space(path.parent, sum(_BYTES * int(np.prod(each.shape)) for each in variables))
    model.save_weights(path)
