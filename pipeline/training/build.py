"""A fresh training step of params and a schema."""

from __future__ import annotations

from copy import deepcopy

import torch

from kernels.backend import check_backend
from pipeline.base.params import Params
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.rows.schema import Schema
from pipeline.training.input_gradient import block_forward, block_gradient
from pipeline.training.sharding import Sharded, Sharing
from pipeline.training.step import TrainingStep


def build_step(
    params: Params,
    schema: Schema,
    device: torch.device,
    seed: int,
    *,
    sharing: Sharing | None = None,
) -> TrainingStep:
    """A fresh TrainingStep; equal seeds give equal weights in every process. sharing: of several processes."""
    train = params.train
    torch.manual_seed(seed)
    generator = Generator(schema, params.network, train.attention_backend).to(device)
    generator.start_from_context()
    discriminator = Discriminator(
        schema,
        params.network,
        patch_logit=train.patch_logit,
        minibatch_group=train.minibatch_group,
        attention_backend=train.attention_backend,
    ).to(device)
    autocast = train.autocast == "bfloat16" or (train.autocast == "auto" and device.type == "cuda")
    average = None if isinstance(sharing, Sharded) else deepcopy(generator)
    step = TrainingStep(generator, discriminator, average, train, autocast=autocast, sharing=sharing)
    if train.compile:
        compile_step(step, device)
    return step


def compile_step(step: TrainingStep, device: torch.device) -> None:
    """Compiles the blocks of both networks, and of the penalty where the attention's operators serve it."""
    as_one = {"fullgraph": True, "dynamic": True}  # one graph serves every block and every mask
    for block in (*step.generator.body.blocks, *step.discriminator.body.blocks):
        block.compile(**as_one)
    if check_backend(step.params.attention_backend, device) == "triton":
        step.block_calls = torch.compile(block_forward, **as_one), torch.compile(block_gradient, **as_one)
