"""What is defended: classifiers, network architectures and the zoo of trained models."""

from typing import TYPE_CHECKING, Any

from advkeras.models.card import ModelCard

if TYPE_CHECKING:
    from advkeras.models.classifier import Classifier

__all__ = ["Classifier", "ModelCard"]


def __getattr__(name: str) -> Any:
    # Listing the zoo does not need TensorFlow; a Classifier does.
    if name == "Classifier":
        from advkeras.models.classifier import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
