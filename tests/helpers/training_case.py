"""A small training step whose gradients tests compare between implementations."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from kernels.task_sampling import SOURCE, TARGET
from pipeline.base.model_groups import NetworkParams, TrainParams
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.training.batches import Batch, Counts, Room
from pipeline.training.losses import exact_penalty
from pipeline.training.step import TrainingStep

SCHEMA = image_label_schema(8, 8, 1, 2, 0.0, 16.0, list("abc"))
ADVERSARIAL = {
    "adversarial_start": 0.0,
    "energy_weight": 0.0,
    "energy_final_weight": 0.0,
}  # from the first step on, alone
NETWORK = NetworkParams(width=32, depth=2, heads=2, noise_width=8, convolution_channels=0)  # what the kernels serve


def random_batch(rows: int, seed: int = 0, schema: Schema = SCHEMA) -> Batch:
    """A batch of random rows and tasks, every row with a source and a target."""
    rng = np.random.default_rng(seed)
    role = rng.integers(0, 3, (rows, schema.n_tokens)).astype(np.uint8)
    role[:, 0], role[:, 1] = SOURCE, TARGET
    features = torch.from_numpy(rng.normal(size=(2, rows, schema.n_features)).astype(np.float32))
    return Batch(
        features=features[0],
        role=torch.from_numpy(role),
        rank=None,
        family=torch.zeros(rows, dtype=torch.int64),
        donor=features[1],
        mismatch_index=torch.arange(rows),
        mismatch_place=torch.arange(rows),
        places=torch.arange(rows),
        batch_size=rows,
        room=Room(*[3 * rows * (schema.n_tokens + 1)] * 4, schema.n_tokens + 1),
        counts=Counts(),
    )


def training_step(backend: str, device: str, params: TrainParams | None = None) -> TrainingStep:
    """A fresh step with the same weights whatever the backend; float32 throughout."""
    params = params or TrainParams(minibatch_group=4, penalty_interval=1, attention_backend=backend, **ADVERSARIAL)
    torch.manual_seed(0)
    generator = Generator(SCHEMA, NETWORK, backend).to(device)
    discriminator = Discriminator(SCHEMA, NETWORK, minibatch_group=4, attention_backend=backend).to(device)
    return TrainingStep(generator, discriminator, deepcopy(generator), params)


def gradients_of_a_step(backend: str, device: str) -> dict[str, Tensor]:
    """Flat gradients of both networks, R1 and R2 included, after one step on the same batch."""
    step = training_step(backend, device)
    losses, _ = step(random_batch(16).to(torch.device(device)), 0, 3)
    assert "r1" in losses
    return {"discriminator": step.flat_d.gradients, "generator": step.flat_g.gradients}


def r1_gradient(dtype: torch.dtype, backend: str, device: str = "cpu") -> Tensor:
    """Gradient of R1 by every weight of a discriminator, two blocks deep: it differentiates attention twice."""
    torch.manual_seed(0)
    critic = Discriminator(SCHEMA, NETWORK, minibatch_group=4, attention_backend=backend).double()
    batch = random_batch(8).to(torch.device(device))
    critic = critic.to(device, dtype)
    penalty = exact_penalty(critic, batch.features.to(dtype), batch.role).mean()
    gradients = torch.autograd.grad(penalty, list(critic.parameters()), allow_unused=True)
    return torch.cat([g.reshape(-1) for g in gradients if g is not None]).double()
