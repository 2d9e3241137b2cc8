"""The training step as CUDA graphs: the host launches a step at once instead of its thousands of kernels one by one.

A small model on a large GPU is bound by the host: an R1-regularised step is several thousand launches of a few
microseconds' work each. A captured step replays them without the host. What varies from step to step is either
copied into fixed places (batch, step sizes, weights of the schedule, the seed) or selects among a few graphs (with or
without discriminator, penalties, with or without mismatched sources). Packed tokens get a fixed room (`pipeline.model.generator.FixedShapes`)
that grows in coarse pieces when a batch needs more, which captures anew.

The first steps of each kind run without a graph, as warm-up and as training at once: nothing is thrown away. A graph
takes the same random numbers as they do; results agree up to rounding, since the order of some sums depends on the room.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from kernels.discriminator_losses import FamilyStatistics
from pipeline.model.transformer import FixedShapes
from pipeline.training.batches import Batch, Counts
from pipeline.training.schedule import Plan
from pipeline.training.step import Losses, TrainingStep

WARM_UPS = 3  # steps of each kind without a graph: compilation, workspaces and Adam's state are made in them
NUMBERS = ("generator_lr", "lr", "mismatch", "fresh", "energy")  # of a Plan, which a graph reads on the device
PIECES = 16  # room grows in sixteenths of the whole grid, the longest row in sixteenths of the tokens


class FixedStep:
    """A TrainingStep with fixed shapes and its schedule in device tensors, on any device: what a graph captures."""

    def __init__(self, state: TrainingStep) -> None:
        self.state = state
        self.device = state.flat_g.values.device
        self.random = torch.Generator(device=self.device)
        self.numbers = torch.zeros(len(NUMBERS), device=self.device)
        self.places: dict[tuple[str, ...], Batch] = {}  # names of the tensors that a batch has → where they are put
        self.batch: Batch | None = None
        self.room: dict[str, float] = {}  # see pipeline.training.batches.Room

    def load(self, batch: Batch, plan: Plan, noise_seed: int) -> bool:
        """Puts the step's input into its fixed places; whether that changed a shape.

        Raises ValueError for a batch whose terms are weighted over several processes.
        """
        if batch.relative != Counts():
            raise ValueError("a step with fixed shapes must run in one process. Got a batch of several.")
        batch = batch.padded()
        changed = self._grow(batch)
        tensors = batch.tensors()
        place = self.places.get(tuple(tensors))
        if place is None or place.features.shape != batch.features.shape:
            changed |= place is not None
            self.places[tuple(tensors)] = place = batch.mapped(Tensor.clone)
        for name, tensor in place.tensors().items():
            tensor.copy_(tensors[name], non_blocking=True)
        self.batch = place
        host = torch.tensor([getattr(plan, name) for name in NUMBERS])
        self.numbers.copy_(host.pin_memory() if self.device.type == "cuda" else host, non_blocking=True)
        self.random.manual_seed(noise_seed)
        return changed

    def run(self, plan: Plan) -> tuple[Losses, FamilyStatistics | None]:
        """The step on what `load` left."""
        numbers = dict(zip(NUMBERS, self.numbers.unbind(), strict=True))
        return self.state.advance(self.batch, replace(plan, **numbers), self.random)

    def _grow(self, batch: Batch) -> bool:
        """Gives packed tokens as much room as the batch asks for; whether it had less."""
        (rows, tokens), changed = batch.role.shape, False
        one, row = rows * (tokens + 1) / PIECES, (tokens + 1) / PIECES
        pieces = {"whole": one, "first": one, "second": one, "critic": 3 * one, "longest_row": row}
        for name, piece in pieces.items():
            wanted = min(PIECES, int(getattr(batch.room, name) // piece) + 1) * piece
            if wanted > self.room.get(name, 0.0):
                self.room[name], changed = wanted, True
        if changed:
            longest = min(tokens + 1, math.ceil(self.room["longest_row"]))
            shapes = {name: FixedShapes(self.room[name] / rows, longest) for name in ("whole", "first", "second")}
            generator, discriminator = self.state.generator, self.state.discriminator
            generator.body.fixed_shapes = discriminator.body.fixed_shapes = shapes["whole"]
            generator.first_shapes, generator.second_shapes = shapes["first"], shapes["second"]
            discriminator.critic_shapes = FixedShapes(self.room["critic"] / (3 * rows), longest)
        return changed


class GraphedStep:
    """Calls like a TrainingStep on a CUDA device, in one process; what it returns is overwritten by the next call."""

    def __init__(self, state: TrainingStep) -> None:
        self.fixed, self.state = FixedStep(state), state
        self.stream = torch.cuda.Stream()
        self.pool = torch.cuda.graph_pool_handle()
        self.graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, tuple]] = {}
        self.seen: Counter[tuple] = Counter()

    def __call__(
        self, batch: Batch, step: int, noise_seed: int, share: float | None = None
    ) -> tuple[Losses, FamilyStatistics | None]:
        """See `TrainingStep.__call__`; `check_finite` of the step is the caller's."""
        plan = self.state.plan(step, share)
        if self.fixed.load(batch, plan, noise_seed):
            self.graphs.clear()
            self.seen.clear()
        kind = (plan.context_alone, plan.adversarial, plan.penalised, plan.mismatched, *batch.tensors())
        if kind not in self.graphs and self.seen[kind] < WARM_UPS:
            self.seen[kind] += 1
            return self._without_graph(plan)
        if kind not in self.graphs:
            self.graphs[kind] = self._capture(plan)
        graph, results = self.graphs[kind]
        graph.replay()
        return results

    def _without_graph(self, plan: Plan) -> tuple[Losses, FamilyStatistics | None]:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = self.fixed.run(plan)
        torch.cuda.current_stream().wait_stream(self.stream)
        return results

    def _capture(self, plan: Plan) -> tuple[torch.cuda.CUDAGraph, tuple]:
        """(graph, its results); nothing is executed. Other threads may go on using the device: they read batches."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.fixed.random)
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            results = self.fixed.run(plan)
        return graph, results
