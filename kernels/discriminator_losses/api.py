"""Public calls of the discriminator and generator losses: validation and the choice of an implementation.

Shapes: B rows; every logit is a (B,) tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.backend import check_backend
from kernels.discriminator_losses.reference import Cross, FamilyStatistics, losses_reference

KINDS = ("relativistic", "non_saturating", "hinge")


def discriminator_losses(
    real: Tensor,
    fake: Tensor,
    family: Tensor,
    *,
    mismatched: Tensor | None = None,
    has_source: Tensor | None = None,
    cross: Cross | None = None,
    kind: str = "relativistic",
    adversarial_weight: float = 1.0,
    mismatch_weight: float = 0.0,
    communication_weight: float = 0.0,
    n_families: int,
    backend: str = "auto",
) -> tuple[Tensor, FamilyStatistics]:
    """(loss, statistics): the weighted loss that D minimises, a float32 scalar, and means per task family.

    real, fake: (B,) logits of the same rows; family: (B,) integers below n_families; mismatched: (B,) logits of
    rows with another row's source; has_source: (B,) bool, rows with S ≠ ∅ (None: all); cross: the logits
    f(x¹; S₁,T₁), f(x¹; S₂,T₂), f(x²; S₁,T₁), f(x²; S₂,T₂). kind: relativistic, non_saturating or hinge.
    Formulas in reference.py. backend: "auto" is "triton" on a GPU and "reference" elsewhere. First and second
    derivatives are exact; with "triton" a third raises.

    Raises: TypeError, ValueError for inputs that do not fit; RuntimeError if the backend cannot run here.
    """
    _check(real, fake, family, kind, n_families, mismatched=mismatched, has_source=has_source, cross=cross)
    _check_weight("mismatch_weight", mismatch_weight, mismatched, "mismatched")
    _check_weight("communication_weight", communication_weight, cross, "cross")
    weights = (adversarial_weight, mismatch_weight, communication_weight)
    return _losses(real, fake, family, mismatched, has_source, cross, kind, False, weights, n_families, backend)


def generator_losses(
    real: Tensor,
    fake: Tensor,
    family: Tensor,
    *,
    cross: Cross | None = None,
    kind: str = "relativistic",
    adversarial_weight: float = 1.0,
    communication_weight: float = 0.0,
    n_families: int,
    backend: str = "auto",
) -> tuple[Tensor, FamilyStatistics]:
    """(loss, statistics): the weighted loss that G minimises and means per family; see `discriminator_losses`."""
    _check(real, fake, family, kind, n_families, mismatched=None, has_source=None, cross=cross)
    _check_weight("communication_weight", communication_weight, cross, "cross")
    weights = (adversarial_weight, 0.0, communication_weight)
    return _losses(real, fake, family, None, None, cross, kind, True, weights, n_families, backend)


def _losses(real, fake, family, mismatched, has_source, cross, kind, generator, weights, n_families, backend):
    real, fake = _at_least_float32(real), _at_least_float32(fake)
    mismatched = None if mismatched is None else _at_least_float32(mismatched)
    cross = None if cross is None else tuple(_at_least_float32(x) for x in cross)
    implementation = losses_reference
    if check_backend(backend, real.device) == "triton":
        from kernels.discriminator_losses.triton_kernel import losses_triton  # the reference needs no triton

        implementation = losses_triton
    return implementation(
        real,
        fake,
        family,
        mismatched,
        has_source,
        cross,
        kind=kind,
        generator=generator,
        weights=weights,
        n_families=n_families,
    )


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _check(real, fake, family, kind, n_families, *, mismatched, has_source, cross) -> None:
    if kind not in KINDS:
        raise ValueError(f"'kind' must be one of {', '.join(KINDS)}. Got {kind!r}.")
    if n_families < 1:
        raise ValueError(f"'n_families' must be at least 1. Got {n_families}.")
    if real.ndim != 1 or not real.is_floating_point():
        raise ValueError(f"'real' must be a floating (B,) tensor. Got {real.dtype} of shape {tuple(real.shape)}.")
    names = {"fake": fake, "mismatched": mismatched}
    names |= {f"cross[{i}]": x for i, x in enumerate(cross or ())}
    for name, x in names.items():
        if x is not None and (x.shape != real.shape or not x.is_floating_point()):
            raise ValueError(
                f"'{name}' must be floating with the shape of 'real', {tuple(real.shape)}. "
                f"Got {x.dtype} of shape {tuple(x.shape)}."
            )
    if cross is not None and len(cross) != 4:
        raise ValueError(f"'cross' must hold four (B,) logits. Got {len(cross)}.")
    if family.shape != real.shape or family.is_floating_point():
        raise ValueError(
            f"'family' must be integers of shape {tuple(real.shape)}. Got {family.dtype} {tuple(family.shape)}."
        )
    if has_source is not None and (has_source.shape != real.shape or has_source.dtype != torch.bool):
        raise ValueError(
            f"'has_source' must be bool of shape {tuple(real.shape)}. Got {has_source.dtype} {tuple(has_source.shape)}."
        )


def _check_weight(name: str, weight: float, needed: object, argument: str) -> None:
    if weight != 0 and needed is None:
        raise ValueError(f"'{name}' must be 0 without '{argument}'. Got {weight}.")
