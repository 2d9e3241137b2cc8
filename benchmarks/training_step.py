"""The whole training step, penalty included: ours against the same step as PyTorch alone would run it.

    python -m benchmarks.training_step [--sizes mnist celeba] [--penalty float32] [--cycles 2] [--out FILE]

A cycle is `penalty_interval` steps, one of them with R1 and R2: `step_ms` is their mean, `penalised_ms` the time of
that one. Sides: `ours`, packed tokens and the Triton kernels (on a CPU the packed reference); `compiled`, ours with the
blocks compiled, those of the penalty too; `graph` and `compiled_graph`, the same replayed as CUDA graphs, as the stage
train runs them on one GPU; `reference`, packed tokens and attention in plain PyTorch; `plain`, every token computed,
hidden ones masked, math attention differentiated by autograd; `sdpa`, plain with scaled dot-product attention where no
second derivative is taken; `sdpa_graph`, that as CUDA graphs; `sdpa_compiled_graph`, its blocks compiled as well;
`sdpa_functional_graph`, its penalty too, as a whole by torch.func.grad (slow to compile). All see the same batches of
the default task mixture, already on the device, and the same weights; the same run compares the discriminator's first
loss.

Sizes: mnist (28×28, patch 4) and celeba (64×64×3, patch 4) on a card, bfloat16 autocast; digits, the defaults of
params.yaml, on one CPU thread, and the same on tasks that leave a third of the tokens hidden (digits_partial). FLOPs
are matrix products outside attention, counted on our side; `mfu` is their rate over the measured rate of a bf16
product. Prints one JSON object as its last line; `ratio` of a row is to the first side; at the end it is the best
baseline (reference, plain, sdpa) over the best of ours that was run, the least over the sizes, and the same of the
penalised step. Appends to benchmarks/results/training_step.csv.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import MethodType

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measure import append, ceilings, key
from benchmarks.plain_step import PlainBody, functional_penalty, unfused_penalty
from kernels.task_sampling import TaskBank, write_bank
from pipeline.base.data_groups import TasksParams
from pipeline.base.model_groups import NetworkParams, TrainParams
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.batches import Batch, BatchReader
from pipeline.training.build import compile_step
from pipeline.training.graphs import WARM_UPS, GraphedStep
from pipeline.training.step import TrainingStep

RESULTS = Path(__file__).parent / "results" / "training_step.csv"
BATCHES = 4
OURS = ("ours", "compiled", "graph", "compiled_graph")
OTHERS = ("reference", "plain", "sdpa", "sdpa_graph", "sdpa_compiled", "sdpa_compiled_graph", "sdpa_functional_graph")
TEN = [str(i) for i in range(10)]
BOTH = {"adversarial_start": 0.0}  # both networks from the first step on, the dearer part of a training
BIG = BOTH | {"penalty_interval": 16, "minibatch_group": 8, "lr": 2e-4, "generator_lr": 2e-4}
SIZES: dict[str, tuple[Schema, NetworkParams, TrainParams]] = {
    "digits": (image_label_schema(8, 8, 1, 2, 0.0, 16.0, TEN), NetworkParams(), TrainParams(**BOTH)),
    "mnist": (
        image_label_schema(28, 28, 1, 4, 0.0, 255.0, TEN),
        NetworkParams(width=256, depth=6, heads=8, noise_width=64, convolution_channels=0),
        TrainParams(batch_size=512, **BIG),
    ),
    "celeba": (
        image_label_schema(64, 64, 3, 4, 0.0, 255.0, TEN[:2]),
        NetworkParams(width=384, depth=8, heads=12, noise_width=64, convolution_channels=0),
        TrainParams(batch_size=128, **BIG),
    ),
    "digits_partial": (image_label_schema(8, 8, 1, 2, 0.0, 16.0, TEN), NetworkParams(), TrainParams(**BOTH)),
    "tiny": (
        image_label_schema(8, 8, 1, 2, 0.0, 16.0, TEN),
        NetworkParams(width=16, depth=2),
        TrainParams(batch_size=16, penalty_interval=2, **BOTH),
    ),
}


PARTIAL = TasksParams(weights={"beta_random": 1.0}, target_beta=[1.0, 2.0])  # two thirds of the tokens visible


def make_batches(size: str, device: torch.device) -> list[Batch]:
    """A few batches of random rows with tasks of the default mixture, or of PARTIAL."""
    schema, _, train = SIZES[size]
    tasks = PARTIAL if size.endswith("_partial") else TasksParams()
    rng = np.random.default_rng(0)
    label = schema.label_token
    rows = rng.integers(0, int(schema.pixel_range[1]) + 1, (BATCHES * train.batch_size, len(schema.columns)))
    rows[:, -1] = rng.integers(0, schema.tokens[label].width, len(rows))
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder) / "bank"
        write_bank(bank, spec_from_schema(tasks, schema), len(rows), 0, 0)
        reader = BatchReader(
            rows.astype(np.uint8),
            schema,
            TaskBank.open(bank),
            train.batch_size,
            0,
            minibatch_group=train.minibatch_group,
        )
        return [reader(i).to(device) for i in range(BATCHES)]


def make_step(size: str, side: str, device: torch.device, penalty: str) -> TrainingStep | GraphedStep:
    """A fresh step of one side; the weights are the same for all. penalty: its precision."""
    schema, network, train = SIZES[size]
    train = replace(train, penalty_precision=penalty)
    backend = "reference" if side == "reference" else "auto"
    torch.manual_seed(0)
    generator = Generator(schema, network, backend).to(device)
    discriminator = Discriminator(schema, network, minibatch_group=train.minibatch_group, attention_backend=backend).to(
        device
    )
    average = deepcopy(generator)
    plain = PlainBody(side.startswith("sdpa"), "compiled" in side or "functional" in side)
    for module in (generator, discriminator):
        if side == "plain" or side.startswith("sdpa"):
            plain.bind(module.body)
    step = TrainingStep(generator, discriminator, average, train, autocast=device.type == "cuda")
    if side.startswith("compiled"):
        compile_step(step, device)
    if "functional" in side:
        step._exact_penalty = torch.compile(MethodType(functional_penalty, step))
    if side.startswith("sdpa"):
        step._penalty = unfused_penalty(step._penalty, plain)
    return GraphedStep(step) if side.endswith("graph") else step


def warm_up(step: TrainingStep | GraphedStep, batches: list[Batch]) -> None:
    """Steps of both kinds until nothing is compiled or captured any more, once every batch has asked for its room."""
    for batch in batches:
        step(batch, 1, 1)
    for _ in range(WARM_UPS + 2):
        for i in (0, 1):
            step(batches[i], i, i)


def one_cycle(step: TrainingStep | GraphedStep, batches: list[Batch], interval: int) -> None:
    for i in range(interval):
        step(batches[i % len(batches)], i, i)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call; CPU seconds on a CPU, which may be shared."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    synchronize(device)
    start = clock()
    call()
    synchronize(device)
    return clock() - start


def measure(
    size: str, sides: list[str], options: argparse.Namespace, device: torch.device, flops: float, rate: float | None
) -> list[dict]:
    """Rows of results of one size, a side each; sides alternate cycle by cycle, and the best cycle counts."""
    train = SIZES[size][2]
    batches, interval = make_batches(size, device), train.penalty_interval
    rows, steps, best, penalised, peaks, first_losses = [], {}, {}, {}, {}, {}
    for side in sides:
        try:
            steps[side] = make_step(size, side, device, options.penalty)
            first_losses[side] = float(steps[side](batches[0], 0, 0)[0]["discriminator_loss"])
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            warm_up(steps[side], batches)
            peaks[side] = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0
        except Exception as failure:  # noqa: BLE001 one side that cannot run must not lose the others' figures
            steps.pop(side, None)
            rows.append({"size": size, "side": side, "note": f"{type(failure).__name__}: {failure}"[:160]})
    for _ in range(options.cycles or (2 if device.type == "cuda" else 10)):
        for side, step in steps.items():
            seconds = seconds_of(lambda step=step: one_cycle(step, batches, interval), device) / interval
            best[side] = min(best.get(side, seconds), seconds)
            seconds = seconds_of(lambda step=step: step(batches[0], 0, 0), device)
            penalised[side] = min(penalised.get(side, seconds), seconds)
    for side, seconds in best.items():
        row = {"size": size, "side": side, "step_ms": round(seconds * 1e3, 3)}
        row |= {"penalised_ms": round(penalised[side] * 1e3, 3), "penalty": options.penalty}
        row |= {"images_per_s": round(train.batch_size / seconds, 1), "peak_mb": round(peaks[side], 1)}
        row |= {"tflop_per_step": round(flops / 1e12, 4), "first_loss": round(first_losses[side], 5)}
        if rate and side in OURS:
            row["mfu_percent"] = round(100 * flops / seconds / rate, 2)
        rows.append(row)
    return rows


class Products(TorchDispatchMode):
    """Counts the FLOPs of the matrix products that run under it; batched ones, which attention makes, stay out."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            a, b = args[-2:]
            self.flops += 2 * a.shape[0] * a.shape[1] * b.shape[1]
        return func(*args, **(kwargs or {}))


def count_flops(size: str, device: torch.device) -> float:
    """FLOPs a step of matrix products outside attention, as executed on packed tokens."""
    interval = SIZES[size][2].penalty_interval
    with Products() as products:
        one_cycle(make_step(size, "ours", device, "float32"), make_batches(size, device), interval)
    return products.flops / interval


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measures, appends to the results, prints the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=None)
    parser.add_argument("--sides", nargs="+", default=None, help="default: all but the compiled ones")
    parser.add_argument(
        "--penalty", choices=("float32", "autocast"), default="autocast", help="precision of R1 and R2, all sides"
    )
    parser.add_argument("--cycles", type=int, default=0, help="timed cycles a side; 0: 2 on a card, 10 on a CPU")
    parser.add_argument("--out", type=Path, default=None, help="CSV to append to")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_card = device.type == "cuda"
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")  # as the stage train does
    sizes = options.sizes or (["mnist", "celeba"] if on_card else ["digits", "digits_partial"])
    sides = options.sides or ["ours", "reference", "plain", "sdpa", *(["graph", "sdpa_graph"] if on_card else [])]
    stamp = key(device) | {"device": device.type}
    rate = ceilings()[0] if on_card else None
    columns = [
        "size",
        "side",
        "step_ms",
        "ratio",
        "images_per_s",
        "peak_mb",
        "tflop_per_step",
        "mfu_percent",
        "first_loss",
        "note",
        "penalised_ms",
        "penalty",
    ]
    out = options.out or (RESULTS if on_card else RESULTS.with_name("training_step_cpu.csv"))
    summary: dict[str, float] = {}
    for size in sizes:
        flops = count_flops(size, device)
        for group in [[side] for side in sides] if on_card else [sides]:  # graphs keep their memory: one at a time
            rows = measure(size, group, options, device, flops, rate)
            for r in rows:
                if "step_ms" in r:
                    base = summary.setdefault(f"base_ms_{size}", r["step_ms"])
                    r["ratio"] = round(r["step_ms"] / base, 2)
                    summary |= {f"{k}_{r['side']}_{size}": r[k] for k in ("ratio", "step_ms", "penalised_ms")}
                print("  ".join(f"{k}={v}" for k, v in r.items()), flush=True)
            append(out, [dict.fromkeys(columns, "") | r | stamp for r in rows])
            gc.collect()
            torch.cuda.empty_cache()
    ratios = {
        name: least_ratio(summary, sizes, kind)
        for name, kind in (("ratio", "step_ms"), ("ratio_penalised", "penalised_ms"))
    }
    print(json.dumps({"benchmark": "training_step"} | ratios | summary | stamp))


def least_ratio(summary: dict[str, float], sizes: list[str], kind: str) -> float | None:
    """The best baseline's time over the best of ours, the least over the sizes; None where one of them did not run."""
    ratios = []
    for size in sizes:
        own, other = (
            [summary[f"{kind}_{side}_{size}"] for side in sides if f"{kind}_{side}_{size}" in summary]
            for sides in (OURS, OTHERS)
        )
        ratios += [round(min(other) / min(own), 2)] if own and other else []
    return min(ratios) if ratios else None


if __name__ == "__main__":
    main()
