"""Other libraries' attacks for the least L2 and L-inf distortion, and the settings that are tried out for each.

They take a network on PyTorch, images (N, C, H, W) in [0, 1], labels and how many gradients an image may have, and
return points, which fool or do not.
"""

import importlib
import itertools
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal
from unittest.mock import MagicMock

import foolbox
import numpy as np
import torch
import torchattacks

from advkeras.searches.norms import NormName

# adv-lib imports them for a perceptual distance and for plots, which nothing here uses.
sys.modules["torchvision"] = sys.modules["visdom"] = MagicMock()
adv_lib = importlib.import_module("adv_lib.attacks")
auto_pgd = importlib.import_module("adv_lib.attacks.auto_pgd")

Images = torch.Tensor  # (N, C, H, W) in [0, 1]


def carlini_wagner(
    network: Any, images: Images, labels: torch.Tensor, gradients: int, *, stepsize: float, initial_const: float
) -> Images:
    """Foolbox's L2CarliniWagnerAttack: five values of c."""
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=5,
        steps=gradients // 5,
        stepsize=stepsize,
        initial_const=initial_const,
        abort_early=False,
    )
    found = attack.run(_foolbox_model(network), images, foolbox.criteria.Misclassification(labels))
    # It returns a black image where it finds nothing, and that may fool as well.
    return torch.where(found.amax(dim=(1, 2, 3), keepdim=True) > 0, found, images)


def brendel_bethge(
    network: Any,
    images: Images,
    labels: torch.Tensor,
    gradients: int,
    *,
    region: float,
    start: Literal["noise", "DDN"],
    kind: Any = foolbox.attacks.L2BrendelBethgeAttack,
) -> Images:
    """Foolbox's L2BrendelBethgeAttack; a twentieth of the gradients is for DDN, for where noise does not fool."""
    model, first = _foolbox_model(network), gradients // 20
    starts = adv_lib.ddn(network, images, labels, steps=first, levels=None)
    if start == "noise":
        blended = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(directions=100, steps=100)
        noisy = blended.run(model, images, foolbox.criteria.Misclassification(labels))
        starts = torch.where(fools(network, noisy, labels)[:, None, None, None], noisy, starts)
    able, found = fools(network, starts, labels), images.clone()
    if not able.any():
        return found
    # Its trust region is lr times the number of pixels of the whole batch.
    attack = kind(steps=gradients - first, lr=region / int(able.sum()))
    criterion = foolbox.criteria.Misclassification(labels[able])
    found[able] = attack.run(model, images[able], criterion, starting_points=starts[able])
    return found


def brendel_bethge_linf(
    network: Any, images: Images, labels: torch.Tensor, gradients: int, *, region: float, start: Literal["noise", "DDN"]
) -> Images:
    """Foolbox's LinfinityBrendelBethgeAttack, begun in the same way."""
    kind = foolbox.attacks.LinfinityBrendelBethgeAttack
    return brendel_bethge(network, images, labels, gradients, region=region, start=start, kind=kind)


def ddn(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, gamma: float) -> Images:
    """Decoupled direction and norm, off the grid of 8-bit pictures."""
    return adv_lib.ddn(network, images, labels, steps=gradients, γ=gamma, levels=None)


def fmn(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, alpha_init: float) -> Images:
    """Fast minimum-norm."""
    return adv_lib.fmn(network, images, labels, norm=2, steps=gradients, α_init=alpha_init)


def fmn_linf(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, alpha_init: float) -> Images:
    """Fast minimum-norm, L-inf."""
    return adv_lib.fmn(network, images, labels, norm=np.inf, steps=gradients, α_init=alpha_init)


def alma(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, init_lr_distance: float) -> Images:
    """Augmented Lagrangian; the setting tried out is the length of the first step."""
    return adv_lib.alma(network, images, labels, num_steps=gradients, init_lr_distance=init_lr_distance)


def pdgd(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, primal_lr: float) -> Images:
    """Primal-dual gradient descent."""
    return adv_lib.pdgd(network, images, labels, num_steps=gradients, primal_lr=primal_lr)


def fab(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, targets: int) -> Images:
    """Fast adaptive boundary, towards the likeliest classes one by one."""
    steps = gradients // targets
    return adv_lib.fab(network, images, labels, norm=2, n_iter=steps, restarts=targets, targeted_restarts=True)


def fab_linf(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, targets: int) -> Images:
    """Fast adaptive boundary, L-inf, towards the likeliest classes one by one."""
    steps = gradients // targets
    return adv_lib.fab(network, images, labels, norm=np.inf, n_iter=steps, restarts=targets, targeted_restarts=True)


def fab_of_torchattacks(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, targets: int) -> Images:
    """Torchattacks' FAB, L-inf: towards each class in turn, or towards the nearest, with a gradient for each class."""
    classes = network(images[:1]).shape[1]
    steps = gradients // (classes - 1 if targets > 1 else classes)
    # It keeps what lies within eps of an image.
    attack = torchattacks.FAB(network, norm="Linf", eps=1.0, steps=steps, multi_targeted=targets > 1, n_classes=classes)
    found: Images = attack(images, labels)
    return found


def pdpgd(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, primal_lr: float) -> Images:
    """Primal-dual proximal gradient descent, L-inf."""
    return adv_lib.pdpgd(network, images, labels, norm=np.inf, num_steps=gradients, primal_lr=primal_lr)


def trust_region(
    network: Any, images: Images, labels: torch.Tensor, gradients: int, *, adaptive: bool, step: float
) -> Images:
    """Trust region, L-inf: it stops once it fools."""
    return adv_lib.tr(network, images, labels, iter=gradients, adaptive=adaptive, p=np.inf, eps=step)


def minimal_apgd(
    network: Any, images: Images, labels: torch.Tensor, gradients: int, *, targets: int, largest: float, loss: str
) -> Images:
    """APGD within radii, L-inf, each found by bisection: ten of them."""
    return auto_pgd.minimal_apgd(
        network,
        images,
        labels,
        norm=np.inf,
        max_eps=largest,
        binary_search_steps=10,
        targeted_version=targets > 0,
        n_iter=gradients // 10 // max(targets, 1),
        loss_function=loss,
        num_targets=targets or None,
    )


def _choices(**values: Iterable[Any]) -> list[dict[str, Any]]:
    return [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]


Peer = tuple[Callable[..., Images], list[dict[str, Any]]]

# The largest radius of a bisection is for either data set's pixels.
PEERS: dict[NormName, dict[str, Peer]] = {
    "l2": {
        "adv-lib, ALMA": (alma, _choices(init_lr_distance=(0.03, 0.1, 0.3, 1.0))),
        "adv-lib, PDGD": (pdgd, _choices(primal_lr=(0.01, 0.03, 0.1, 0.3))),
        "adv-lib, FAB": (fab, _choices(targets=(1, 3, 9))),
        "Foolbox, Brendel-Bethge": (brendel_bethge, _choices(region=(1e-3, 1e-2), start=("noise", "DDN"))),
        "adv-lib, FMN": (fmn, _choices(alpha_init=(0.1, 0.3, 1.0))),
        "adv-lib, DDN": (ddn, _choices(gamma=(0.01, 0.05))),
        "Foolbox, Carlini-Wagner": (carlini_wagner, _choices(stepsize=(0.01, 0.1, 0.3), initial_const=(1.0, 10.0))),
    },
    "linf": {
        "adv-lib, minimal APGD": (minimal_apgd, _choices(targets=(0,), largest=(0.1, 0.5), loss=("dlr", "ce"))),
        "adv-lib, minimal APGD-T": (minimal_apgd, _choices(targets=(2, 9), largest=(0.1, 0.5), loss=("dlr",))),
        "adv-lib, FAB": (fab_linf, _choices(targets=(1, 3, 9))),
        "adv-lib, FMN": (fmn_linf, _choices(alpha_init=(0.3, 1.0, 3.0, 10.0))),
        "adv-lib, PDPGD": (pdpgd, _choices(primal_lr=(0.01, 0.03, 0.1, 0.3))),
        "adv-lib, trust region": (trust_region, _choices(adaptive=(False, True), step=(0.0003, 0.001))),
        "Foolbox, Brendel-Bethge": (brendel_bethge_linf, _choices(region=(1e-3, 1e-2), start=("noise", "DDN"))),
        "torchattacks, FAB": (fab_of_torchattacks, _choices(targets=(1, 9))),
    },
}


def _foolbox_model(network: Any) -> Any:
    return foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")


def fools(network: Any, images: Images, labels: torch.Tensor) -> torch.Tensor:
    """Whether images are misclassified: (N,) bool."""
    return network(images).argmax(dim=1) != labels
