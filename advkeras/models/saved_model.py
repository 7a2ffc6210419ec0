"""SavedModels in TF Serving's layout, NAME/VERSION/: reading logits from them, and writing them."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from advkeras.errors import InvalidInputError, first_line, plain_text
from advkeras.files import require_writable_folder, scratch_prefix, sweep
from advkeras.models import layout
from advkeras.models.graphs import inlined, runs_python
from advkeras.models.networks import Network

# What TensorFlow says of a file without a graph, beside an advice on its own interface.
_EMPTY = "there are 0 MetaGraphs"


def load_network(folder: Path) -> Network:
    """The network of a SavedModel: its signature ``serving_default``, or else the first that takes images.

    Args:
        folder: of the version.

    Raises:
        InvalidInputError: if the SavedModel cannot be read or no signature fits.
    """
    loaded = _load(folder)
    signatures = sorted(loaded.signatures.items(), key=lambda item: item[0] != "serving_default")
    for _, signature in signatures:
        inputs = signature.structured_input_signature[1]
        outputs = signature.structured_outputs.values()
        if len(inputs) != 1 or not any(each.dtype.is_floating for each in outputs):
            continue
        [spec] = inputs.values()
        if spec.shape.rank in (2, 3, 4) and (spec.dtype.is_floating or spec.dtype.is_integer):
            return _network(f"the SavedModel {folder}", loaded, signature, spec)
    described = ", ".join(f"{name} -> {sorted(sig.structured_outputs)}" for name, sig in signatures) or "none"
    raise InvalidInputError(
        f"{folder} has no signature that maps images (N, H, W, C) to logits. Received signatures: {described}"
    )


def _network(name: str, loaded: Any, signature: Any, spec: Any) -> Network:
    # The variables live as long as the loaded object does.
    return Network(name, inlined(signature), spec.shape.as_list(), dtype=spec.dtype, holding=[loaded])


def load_weights(network: Any, path: Path) -> None:
    """Gives a Keras network the weights of a SavedModel that was made from a network of the same architecture.

    Args:
        network: a Keras model.
        path: the version's folder, or the folder above the versions.

    Raises:
        InvalidInputError: if the SavedModel cannot be read or its weights are those of another network.
    """
    folder = layout.version_folder(path)
    loaded = _load(folder)
    held = {
        variable.name.removesuffix(":0"): variable
        for signature in loaded.signatures.values()
        for variable in signature.variables
    }
    for variable in network.variables:
        found = held.get(variable.path)
        if found is None or found.shape != variable.shape:
            raise InvalidInputError(
                f"{folder} has not the weights of the architecture {network.name}: expected {variable.path} of shape "
                f"{tuple(variable.shape)}. Received: {'nothing' if found is None else tuple(found.shape)}"
            )
        variable.assign(found)


def save(model: Any, parent: Path, *, complete: Callable[[Path], None] | None = None) -> Path:
    """Writes a Keras model as the next version of a SavedModel; never a half-written version.

    Its signature ``serving_default`` maps ``images`` to ``logits``, ``probabilities`` and ``class``.

    Args:
        model: maps images to logits.
        parent: the folder above the versions.
        complete: writes further files into the version's folder before it gets its final name.

    Returns:
        The version's folder.
    """
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="images")
    signatures = {"serving_default": (point_answers(lambda batch: model(batch, training=False)), [images])}
    return write(signatures, parent, holding=[model], complete=complete)


def point_answers(
    logits_of: Callable[[Any], Any], others_of: Callable[[Any], dict[str, Any]] = lambda images: {}
) -> Callable[[Any], dict[str, Any]]:
    """What ``serving_default`` answers: logits (B, classes), probabilities (B, classes), class (B,) of images.

    Args:
        logits_of: from images to logits.
        others_of: from images to what is answered beside these, by name.
    """

    def serve(images: Any) -> dict[str, Any]:
        logits = logits_of(images)
        return {
            **others_of(images),
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, axis=1, output_type=tf.int32),
        }

    return serve


def write(
    signatures: Mapping[str, tuple[Callable[..., dict[str, Any]], Sequence[Any]]],
    parent: Path,
    *,
    holding: Sequence[Any],
    complete: Callable[[Path], None] | None = None,
) -> Path:
    """Writes functions as the signatures of the next version of a SavedModel; never a half-written version.

    Args:
        signatures: for each name the function, from tensors to a dictionary of tensors, and the named specs of its
            arguments.
        parent: the folder above the versions.
        holding: the objects that the functions' variables belong to.
        complete: writes further files into the version's folder before it gets its final name.

    Returns:
        The version's folder.

    Raises:
        InvalidInputError: if a function uses variables that none of the objects holds, or runs Python, or the folder
            cannot be written.
    """
    module = tf.Module()
    # A server's loader restores TensorFlow's variables, and finds none inside a Keras object.
    module.holding = [
        [variable.value for variable in each.variables] if isinstance(each, keras.Layer) else each for each in holding
    ]
    functions = {
        name: tf.function(_guarded(function, specs), input_signature=specs, autograph=False)
        for name, (function, specs) in signatures.items()
    }
    require_writable_folder(parent)
    sweep(parent)
    scratch = Path(tempfile.mkdtemp(prefix=scratch_prefix(), dir=parent))
    try:
        concrete = {name: function.get_concrete_function() for name, function in functions.items()}
        if any(map(runs_python, concrete.values())):
            raise InvalidInputError("a SavedModel has no Python: what this model runs outside TensorFlow is not served")
        tf.saved_model.save(module, str(scratch), signatures=concrete)
        if complete is not None:
            complete(scratch)
        scratch.chmod(0o755)
        taken = [int(child.name) for child in parent.iterdir() if layout.is_version(child.name)]
        return scratch.rename(parent / str(max(taken, default=0) + 1))
    except (AssertionError, tf.errors.OpError) as error:
        # An untracked resource is an AssertionError to TensorFlow.
        raise InvalidInputError(f"cannot write a SavedModel into {parent}: {first_line(error)}") from error
    except OSError as error:
        raise InvalidInputError(
            f"cannot write to the folder {parent}: {error.strerror or first_line(error)}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _guarded(function: Callable[..., dict[str, Any]], specs: Sequence[Any]) -> Callable[..., dict[str, Any]]:
    """The function behind a check of its arguments' shapes, which a server's session does not make.

    Without it an image of another rank ends the whole server: a convolution on CPUs takes its rank for granted.
    """

    def guarded(*arguments: Any) -> dict[str, Any]:
        return function(*(tf.ensure_shape(each, spec.shape) for each, spec in zip(arguments, specs, strict=True)))

    return guarded


def _load(folder: Path) -> Any:
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = "it is empty" if _EMPTY in str(error) else plain_text(first_line(error))
        raise InvalidInputError(f"{folder} is no readable SavedModel: {reason}") from error
    # What TensorFlow runs into where a file is cut off is no part of its interface.
    except Exception as error:
        raise InvalidInputError(f"{folder} is a damaged SavedModel: {plain_text(first_line(error))}") from error
