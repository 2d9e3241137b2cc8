"""Training losses beyond the logits: gradient penalties, likelihood terms, mismatched sources. Pure functions.

The adversarial and communication terms on logits are in kernels/discriminator_losses.
Shapes: B rows, L tokens, F features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.model.context import CategoryNetwork
from pipeline.model.noise import RowNoise, draw
from pipeline.model.sums import cumulative
from pipeline.rows.tokens import Group

SMALLEST_DISTANCE = 1e-4  # of two draws, where the slope of the energy score ends; in feature units


def mismatched_source(features: Tensor, donor: Tensor, role: Tensor, token_of_feature: Tensor) -> Tensor:
    """(B, F) rows that keep their own x_T but take x_S from `donor`: negatives whose parts are real and do not fit.

    features, donor: (B, F); role: (B, L); token_of_feature: (F,).
    A discriminator that sees only real and generated rows can ignore x_S for long; these make it look.
    """
    return torch.where(role[:, token_of_feature] == SOURCE, donor, features)


def exact_penalty(discriminator: Callable[[Tensor, Tensor], Tensor], features: Tensor, role: Tensor) -> Tensor:
    """(B,) squared gradient norms ‖∇_x f(x; S, T)‖², differentiable: R1 on real rows, R2 on generated ones.

    features: (B, F); role: (B, L). Source: Mescheder et al. 2018 (1801.04406); R3GAN (2501.05441).
    """
    features = features.detach().requires_grad_(True)
    logits = discriminator(features, role)
    (gradient,) = torch.autograd.grad(logits.sum(), features, create_graph=True)
    return gradient.square().sum(1)


def approximate_penalty(
    discriminator: Callable[[Tensor, Tensor], Tensor], features: Tensor, role: Tensor, sigma: float, noise: Tensor
) -> Tensor:
    """(B,) one-draw estimates of ‖∇_x f‖²: ((f(x + σε) − f(x)) / σ)², the approximated R1 of Lin et al. 2025 (2501.08316).

    One draw has a large variance. Where rows share statistics (`train.minibatch_group`) its mean is Σ_k ‖∂f_i/∂x_k‖² over the
    rows k of the group, as all are moved at once, where `exact_penalty` has ‖∂ Σ_k f_k / ∂x_i‖².
    noise: (B, F) standard normal; sigma: in feature units.
    """
    both = discriminator(torch.cat([features, features + sigma * noise]), role.repeat(2, 1))
    clean, moved = both.chunk(2)
    return ((moved - clean) / sigma).square()


def energy_scores(one: Tensor, other: Tensor, features: Tensor, counted: Tensor) -> Tensor:
    """(B,) energy score of two draws of each row against its data, over its counted features; 0 without any.

        ½ (d(x¹, x) + d(x², x)) − ½ d(x¹, x²),  d(a, b) = √(Σ_T (a − b)² / |T|)

    with x¹, x² ~ p_θ(x_T | x_S) independent given x_S. Its mean is E d(X, x) − ½ E d(X, X'), least exactly where p_θ is
    the true conditional: a strictly proper score of the joint distribution of x_T. The first part draws towards the
    data, the second keeps the draws apart. Sources: Gneiting & Raftery 2007, section 4.3; as a training loss of
    implicit generators Pacchiardi et al. 2021 (2112.08217), engression, Shen & Meinshausen 2023 (2307.00835).

    one, other, features: (B, F); counted: (B, F) bool, the continuous targets; what stands elsewhere, be it NaN,
    changes nothing. First order only: the slope at d = 0 is cut off at 1 / SMALLEST_DISTANCE.
    """
    nothing = features.new_zeros(())
    one, other, true = (torch.where(counted, x, nothing) for x in (one, other, features))
    size = counted.sum(1).clamp(min=1)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return ((a - b).square().sum(1) / size + SMALLEST_DISTANCE**2).sqrt() - SMALLEST_DISTANCE

    return 0.5 * (distance(one, true) + distance(other, true) - distance(one, other))


def likelihood_terms(
    raw: Tensor,
    features: Tensor,
    role: Tensor,
    groups: tuple[Group, ...],
    least_source_share: float,
    error: str = "absolute",
) -> tuple[Tensor, Tensor]:
    """(discrete, continuous): cross-entropy in nats and absolute or squared error, each a mean over its target tokens.

    Discrete are the categories and the bins of binned numbers, whose cross-entropy is the likelihood of the bin.
    Rows whose share of source tokens is below `least_source_share` do not count; without a counted token a term
    is 0. raw: (B, F) outputs of the generator before the softmax; features: (B, F) data; role: (B, L).
    """
    counted = ((role == SOURCE).sum(1) >= least_source_share * role.shape[1])[:, None]
    discrete, continuous = raw.new_zeros(2), raw.new_zeros(2)
    for group in groups:
        tokens = slice(group.tokens[0], group.tokens[-1] + 1)
        is_target = role[:, tokens] == TARGET
        weight = (is_target & counted).to(raw.dtype)
        shape = (len(raw), len(group.tokens), group.width)
        out, true = raw[:, group.features].reshape(shape), features[:, group.features].reshape(shape)
        true = torch.where(is_target[..., None], true, true.new_zeros(()))  # whatever stands in a missing cell
        if group.binned:
            bins = true.sum(-1).long().clamp(max=group.width - 1)
            surprise = -out.log_softmax(-1).gather(-1, bins[..., None])[..., 0]
            discrete = discrete + torch.stack([(surprise * weight).sum(), weight.sum()])
        elif group.modality == "categorical":
            surprise = -(out.log_softmax(-1) * true).sum(-1)
            discrete = discrete + torch.stack([(surprise * weight).sum(), weight.sum()])
        else:
            distance = functional.l1_loss if error == "absolute" else functional.mse_loss
            away = distance(out, true, reduction="none").mean(-1)
            continuous = continuous + torch.stack([(away * weight).sum(), weight.sum()])
    return discrete[0] / discrete[1].clamp(min=1.0), continuous[0] / continuous[1].clamp(min=1.0)


def further_names(
    network: CategoryNetwork | None, features: Tensor, role: Tensor, sets: int, noise: torch.Generator | RowNoise | None
) -> Tensor | None:
    """() nats of the categories of each row, given `sets` further random parts of its visible tokens; per row and set.
    None without a network or sets.

    A part has each visible token with one chance, uniform in [0, 1]; the visible categories outside it are named. A step of a small
    network costs next to nothing, and the classes of few rows are learnt from many parts of them. features: (B, F);
    role: (B, L).
    """
    if network is None or sets == 0:
        return None
    choices = tuple(g for g in network.groups if g.discrete)
    discrete = torch.zeros(role.shape[1], dtype=torch.bool, device=role.device)
    for group in choices:
        discrete[group.tokens[0] : group.tokens[-1] + 1] = True
    place = draw(torch.rand, (len(role), sets, 1 + role.shape[1]), noise, role.device).flatten(0, 1)
    visible, features = (role != HIDDEN).repeat_interleave(sets, 0), features.repeat_interleave(sets, 0)
    read = visible & (place[:, 1:] < place[:, :1])
    asked = visible & discrete & ~read
    roles = torch.where(asked, TARGET, HIDDEN)
    mean, _ = likelihood_terms(network(features, read).float(), features, roles, choices, 0.0)
    return mean * asked.sum() / len(place)


def ranked_scores(
    raw: Tensor, features: Tensor, is_target: Tensor, groups: tuple[Group, ...], spacing: Tensor
) -> Tensor:
    """(B, L) ranked probability score of each discrete target token, in its standard deviations; 0 at other tokens.

    A binned number: Σ_k spacing_k (F_k − 1[bin ≤ k])², the continuous ranked probability score (Gneiting & Raftery
    2007) of its distribution at the resolution of the bins: a near miss costs less than a far one, which cross-entropy
    does not know. A category: half the Brier score, which is the same with a spacing of ½ between all of them.

    raw: (B, F) logits; features: (B, F) data, read at targets only; is_target: (B, L) bool; spacing: (F,) between the
    middle of a bin and of the next.
    """
    parts = []
    for group in groups:
        tokens = slice(group.tokens[0], group.tokens[-1] + 1)
        chosen = is_target[:, tokens]
        if not group.discrete:
            parts.append(raw.new_zeros(chosen.shape))
            continue
        shape = (len(raw), len(group.tokens), group.width)
        out, true = raw[:, group.features].reshape(shape), features[:, group.features].reshape(shape)
        true = torch.where(chosen[..., None], true, true.new_zeros(()))
        probability = out.softmax(-1)
        if group.binned:
            bins = true.sum(-1).long().clamp(max=group.width - 1)
            reached = torch.arange(group.width, device=raw.device) >= bins[..., None]
            gap = (cumulative(probability) - reached.to(raw.dtype)).square()
            score = (gap * spacing[group.features].reshape(shape[1:])).sum(-1)
        else:
            score = (probability - true).square().sum(-1) / 2
        parts.append(torch.where(chosen, score, score.new_zeros(())))
    return torch.cat(parts, 1)
