"""What changes in the course of a training: step sizes, weights, seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.base.model_groups import TrainParams


@dataclass(frozen=True)
class Plan:
    """What the schedules say of one step: numbers, or () tensors that hold them on the device.

    generator_lr, lr: step sizes. mismatch: weight of mismatched sources. fresh: weight of the new weights in the
    average. energy: weight of the energy score. context_alone: the transformer rests. adversarial: the discriminator takes part. penalised, mismatched: R1 and
    R2, or mismatched sources, are due.
    """

    generator_lr: float | Tensor
    lr: float | Tensor
    mismatch: float | Tensor
    fresh: float | Tensor
    energy: float | Tensor
    context_alone: bool
    adversarial: bool
    penalised: bool
    mismatched: bool


def adversarial_share(params: TrainParams, share: float) -> float:
    """Share of the adversarial part of the training that lies behind after `share` of the whole; < 0 before it begins."""
    start = params.adversarial_start
    return (share - start) / (1.0 - start) if start < 1.0 else -1.0


def body_start(params: TrainParams) -> float:
    """Share of the training after which the transformer takes part: with the discriminator at the latest."""
    return min(params.body_start, params.adversarial_start) if params.adversarial_weight > 0 else params.body_start


def energy_weight(params: TrainParams, share: float) -> float:
    """Weight of the energy score after `share` of the training: the first one while the generator learns alone, then
    linear to the final one at the end."""
    behind = max(0.0, adversarial_share(params, share))
    return params.energy_weight + (params.energy_final_weight - params.energy_weight) * behind


def mismatch_weight(params: TrainParams, share: float) -> float:
    """Weight of mismatched-source negatives after `share` of the adversarial part, linear from the first to the final one.

    They make the discriminator look at x_S at all; kept up, they favour the most typical x_T and cost diversity.
    """
    left = max(0.0, 1.0 - share / params.mismatch_decay_end) if params.mismatch_decay_end > 0 else 0.0
    return params.mismatch_final_weight + (params.mismatch_weight - params.mismatch_final_weight) * left


def learning_rate_factor(params: TrainParams, step: int, share: float | None = None) -> float:
    """Factor on the step sizes: linear warm-up, 1, then linear to zero once a share decay_start lies behind. Where the
    transformer joins later it warms up again: its moments are still zero, which makes first updates large.

    share: see `TrainingStep.__call__`.
    """
    place = step if share is None else share * params.steps
    joined = body_start(params) * params.steps
    since = place - joined if 0 < joined <= place else step
    warm = min(1.0, (since + 1) / params.warmup_steps) if params.warmup_steps else 1.0
    start = params.decay_start * params.steps
    left = (params.steps - place) / max(1.0, params.steps - start) if place > start else 1.0
    return warm * left


def plan_of(params: TrainParams, step: int, share: float | None = None) -> Plan:
    """The plan of step `step`; share as in `TrainingStep.__call__`."""
    share = step / params.steps if share is None else share
    behind = adversarial_share(params, share)
    adversarial = params.adversarial_weight > 0 and behind >= 0
    due = params.penalty != "none" and params.penalty_weight > 0 and step % params.penalty_interval == 0
    schedule, mismatch = learning_rate_factor(params, step, share), mismatch_weight(params, max(0.0, behind))
    return Plan(
        generator_lr=params.generator_lr * schedule,
        lr=params.lr * schedule,
        mismatch=mismatch,
        fresh=1 - min(params.ema_decay, (1 + step) / (10 + step)),
        energy=energy_weight(params, share),
        context_alone=share < body_start(params),
        adversarial=adversarial,
        penalised=adversarial and due,
        mismatched=adversarial and mismatch > 0,
    )


def noise_seed(seed: int, step: int) -> int:
    """63-bit seed of one step."""
    return int(np.random.SeedSequence([seed, step, 0]).generate_state(1, np.uint64)[0] >> 1)
