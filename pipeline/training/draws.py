"""What a training step draws from the generator, once for both turns.

Shapes: B rows of this process, F features.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from pipeline.base.model_groups import TrainParams
from pipeline.model.generator import Generator
from pipeline.model.noise import RowNoise
from pipeline.training.batches import Batch
from pipeline.training.losses import further_names
from pipeline.training.schedule import Plan


class Draws(NamedTuple):
    """(B, F) float32 each. raw: outputs before any draw. first: generated rows, for the discriminator; second: those with
    a second draw of the continuous targets, where energy scores are asked for. paired: of the other task, where
    communication is. nats: () see `pipeline.training.losses.further_names`."""

    raw: Tensor
    first: Tensor
    second: Tensor | None = None
    paired: Tensor | None = None
    nats: Tensor | None = None


def draws_of(
    generator: Generator, batch: Batch, plan: Plan, params: TrainParams, noise: RowNoise, *, twice: bool
) -> Draws:
    """The draws of one step. twice: energy scores are asked for."""
    asked = batch.features, batch.role, noise, batch.rank
    if params.adversarial_weight == 0 and generator.order == "one_by_one":  # nothing reads a draw
        raw = generator.logits(*asked).float()
        return Draws(raw, raw)
    drawn, second = generator.twice(*asked) if twice else (generator(*asked), None)
    paired = None
    if plan.adversarial and params.communication_weight > 0 and batch.other_role is not None:
        paired = generator(batch.features, batch.other_role, noise, batch.other_rank).features.float()
    nats = further_names(generator.categories, batch.features, batch.role, params.category_sets, noise)
    second = None if second is None else second.float()
    return Draws(drawn.raw.float(), drawn.features.float(), second, paired, nats)
