import keras
import pytest

from advkeras.models import architectures


@pytest.fixture
def small(monkeypatch) -> None:
    """A network that trains in a second, under the name of the real one."""

    def build(spec):
        return keras.Sequential(
            [
                keras.Input(spec.shape),
                keras.layers.MaxPooling2D(4),
                keras.layers.Flatten(),
                keras.layers.Dense(spec.num_classes, name="logits"),
            ],
            name="small",
        )

    monkeypatch.setitem(architectures._REGISTRY, "madry-mnist", build)
