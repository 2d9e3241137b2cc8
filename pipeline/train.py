"""Stage train: BigLearn-GAN on the task bank → data/models. Run: python -m pipeline.train

One readable loop. It resumes from the last intact checkpoint of the same params, data and code, and
ends bit-identical on CPU to a run that was never interrupted. Asked to stop (SIGTERM, Ctrl-C) it saves first.
On several GPUs or machines: torchrun --nproc-per-node N -m pipeline.train
"""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from copy import deepcopy
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import torch

from kernels.task_sampling import FAMILIES, TaskBank
from pipeline.base.devices import choose_device
from pipeline.base.files import check_sha256, write_json
from pipeline.base.params import Params, merge_params, to_dict
from pipeline.base.paths import Paths
from pipeline.base.runs import Run, other_runs, run_of, start_sentence
from pipeline.base.stage import run_stage
from pipeline.base.stopping import Stopped, StopRequest, stop_requests
from pipeline.base.streams import progress
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.model.network_files import save_network
from pipeline.model.sampler import Sampler
from pipeline.rows.row_file import RowFile
from pipeline.rows.schema import Schema
from pipeline.training import distributed
from pipeline.training.batches import Batch, BatchReader, Counts, read_ahead
from pipeline.training.build import build_step
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.clock import Clock
from pipeline.training.graphs import GraphedStep
from pipeline.training.log import TrainingLog
from pipeline.training.progress import save_progress_grid
from pipeline.training.schedule import noise_seed
from pipeline.training.sharding import Replicated, Sharded, Sharing
from pipeline.training.step import TrainingStep

# What a run's result depends on, for the key of its checkpoints: files and rooms, kernels, parameters.
CODE = ("train.py", "training", "model", "rows")
KERNELS = ("discriminator_losses", "masked_attention", "task_sampling")
GROUPS = ("seed", "network", "train", "sample")
HOW_IT_RUNS = (
    "checkpoint_interval",
    "processes",
    "sharding",
    "threads",
)  # may change between an interruption and the restart


def run(params: Params, where: Paths) -> None:
    """Trains and writes data/models/{generator, discriminator, progress}, data/metrics/train.json and curves."""
    device = choose_device(params.train.device, "train.device")
    if distributed.started_by_torchrun() or params.train.processes == 1 or device.type == "cuda":
        train_process(to_dict(params), str(where.root))
    else:
        distributed.launch(train_process, (to_dict(params), str(where.root)), params.train.processes)


def train_process(raw_params: dict, root: str) -> None:
    """What one process does; plain arguments, since it may be a new process."""
    params, where = merge_params(raw_params), Paths(Path(root))
    torch.set_num_threads(params.train.threads)
    torch.set_flush_denormal(True)
    device = choose_device(params.train.device, "train.device")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")  # the penalty runs in float32: on tensor cores
    if params.train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
        torch.use_deterministic_algorithms(True)
    world = distributed.join(device)
    try:
        _train(params, where, device, world)
    finally:
        distributed.leave()


def _train(params: Params, where: Paths, device: torch.device, world: distributed.World) -> None:
    started = time.perf_counter()
    if params.train.time_limit_s and world.processes > 1:
        raise ValueError(
            f"'train.time_limit_s' must be 0 with several processes, whose clocks differ. Got {params.train.time_limit_s}."
        )
    seed = params.seed + params.train.seed_offset
    if world.is_first:
        _verify(where)
    schema = Schema.load(where.tokens / "schema.json")
    reader = _reader(params, where, schema, world, seed)
    state = build_step(params, schema, device, seed, sharing=_sharing(params, world))
    this = _run(params, where)
    checkpoints = Checkpoints(
        where.checkpoints / this.key, {"curves": where.plots / "train", "progress": where.models / "progress"}, this
    )
    resumed = checkpoints.restore(state, put_back=world.is_first)
    if world.is_first:
        said = start_sentence(this, resumed.step, other_runs(where.checkpoints, this.key))
        if said:
            print(f"train: {said}", flush=True)
    advance = GraphedStep(state) if _graphs(params, device, world) else state
    first_step = done = resumed.step
    train = params.train
    clock = Clock(train.steps, train.time_limit_s, started)
    world.barrier()
    with (
        stop_requests() as stop,
        TrainingLog(
            where.plots / "train", first_step, enabled=world.is_first, average=world.average, sums=resumed.sums
        ) as log,
    ):
        bar = progress(
            range(first_step, train.steps), "train", total=train.steps, initial=first_step, disable=not world.is_first,
            unit="step", mininterval=1.0,
        )  # fmt: skip
        for step, batch in zip(bar, read_ahead(reader, first_step, train.steps, device), strict=False):
            batch, signal_number = _agree(world, batch, stop)
            if signal_number:
                _stop(checkpoints, step, state, log, world, signal_number)
            losses, statistics = advance(batch.to(device), step, noise_seed(seed, step), clock.share(step))
            done = step + 1
            last = clock.is_over(done)
            log.collect(losses)
            if done % train.log_interval == 0 or last:
                state.check_finite()
                shown = log.write(done, statistics, FAMILIES)
                bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
            if done % train.sample_interval == 0 or last:
                _save_grid(state, schema, params, reader, where.models / "progress", done)
            if done % train.checkpoint_interval == 0 and not last:
                _checkpoint(checkpoints, done, state, log, world)
            if last:
                break
    average = state.averaged_generator()  # asked for by every process, there in the first
    if world.is_first:
        _save(params, where, schema, average, state.discriminator)
        _save_metrics(params, where, (first_step, done), time.perf_counter() - started, log.last, world)
        checkpoints.clear()
    world.barrier()


def _graphs(params: Params, device: torch.device, world: distributed.World) -> bool:
    """Whether the step is replayed as CUDA graphs: on one GPU; ranked scores gather their targets, which waits."""
    return params.train.cuda_graph and device.type == "cuda" and world.processes == 1 and not params.train.ranked_weight


def _verify(where: Paths) -> None:
    """Raises ValueError when tokens or tasks are not what their stages wrote."""
    digests = json.loads((where.tokens / "summary.json").read_text(encoding="utf8"))
    for name in ("schema.json", "train.npy"):
        check_sha256(where.tokens / name, digests[f"{Path(name).stem}_sha256"])
    TaskBank.verify(where.tasks / "train")


def _agree(world: distributed.World, batch: Batch, stop: StopRequest) -> tuple[Batch, int]:
    """(the batch with its counts relative to their means over processes, the signal that asked one of them to stop)."""
    if world.processes == 1:
        return batch, stop.signal_number
    own = astuple(batch.counts)
    *means, signal_number = world.average_numbers([*own, float(stop.signal_number)])
    relative = Counts(*(n / mean if mean else 1.0 for n, mean in zip(own, means, strict=True)))
    return replace(batch, relative=relative), signal.SIGTERM if signal_number else 0


def _checkpoint(
    checkpoints: Checkpoints, step: int, state: TrainingStep, log: TrainingLog, world: distributed.World
) -> None:
    checkpoints.save(step, state, log.sums(), write=world.is_first)


def _stop(
    checkpoints: Checkpoints,
    step: int,
    state: TrainingStep,
    log: TrainingLog,
    world: distributed.World,
    signal_number: int,
) -> None:
    """Saves the state after `step` finished steps and raises Stopped, in every process."""
    _checkpoint(checkpoints, step, state, log, world)
    world.barrier()
    name = signal.Signals(signal_number).name
    raise Stopped(f"{name} after {step} steps; saved, the next run goes on from there", signal_number)


def _reader(params: Params, where: Paths, schema: Schema, world: distributed.World, seed: int) -> BatchReader:
    rows = RowFile(where.tokens / "train.npy")
    if len(rows) < 2:
        raise ValueError(f"training needs at least 2 rows. Got {len(rows)} in {where.tokens / 'train.npy'}.")
    unit = world.processes * params.train.minibatch_group
    if params.train.batch_size % unit:
        raise ValueError(
            f"'train.batch_size' must be a multiple of processes × train.minibatch_group "
            f"({world.processes} × {params.train.minibatch_group}). Got {params.train.batch_size}."
        )
    return BatchReader(
        rows,
        schema,
        TaskBank.open(where.tasks / "train"),
        params.train.batch_size,
        seed,
        world.process,
        world.processes,
        params.train.minibatch_group,
        pairs=params.train.communication_weight > 0,
        least_source_share=params.train.likelihood_source_share,
    )


def _run(params: Params, where: Paths) -> Run:
    relevant = {k: v for k, v in to_dict(params).items() if k in GROUPS}
    for name in HOW_IT_RUNS:
        del relevant["train"][name]
    parts = {
        "the training rows": where.tokens / "summary.json",
        "the schema": where.tokens / "schema.json",
        "the task bank": where.tasks / "train" / "bank.json",
    }
    package = Path(__file__).parent
    places = [package / name for name in CODE] + [package.parent / "kernels" / name for name in KERNELS]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.glob("*.py")))]
    code = {file.relative_to(package.parent).as_posix(): file for file in files}
    return run_of(relevant, {name: path.read_text(encoding="utf8") for name, path in parts.items()}, code)


def _sharing(params: Params, world: distributed.World) -> Sharing:
    if params.train.sharding == "optimiser" and world.processes > 1:
        return Sharded(world.process, world.processes)
    return Replicated(world.average)


def _save_grid(
    state: TrainingStep, schema: Schema, params: Params, reader: BatchReader, folder: Path, step: int
) -> None:
    average = state.averaged_generator()  # asked for by every process, there in the first
    if average is not None and reader.process == 0 and schema.image is not None:
        sampler = Sampler(deepcopy(average).cpu(), schema, batch_size=params.sample.batch_size)
        rows = np.asarray(reader.rows[:8], np.float32)
        save_progress_grid(sampler, rows, folder / f"step-{step:08d}.png", params.seed)


def _save(params: Params, where: Paths, schema: Schema, average: Generator, discriminator: Discriminator) -> None:
    network = to_dict(params.network)
    Sampler.save(where.generator, average, schema, network, params.sample.batch_size)
    save_network(where.models / "discriminator", discriminator, {"network": network}, schema)


def _save_metrics(
    params: Params,
    where: Paths,
    steps: tuple[int, int],
    wall_s: float,
    last: dict[str, float],
    world: distributed.World,
) -> None:
    own = resource.getrusage(resource.RUSAGE_SELF)
    first, done = steps
    write_json(
        where.metrics / "train.json",
        {
            "steps": done,
            "resumed_at_step": first,
            "images_per_s": round((done - first) * params.train.batch_size / wall_s, 1),
            "wall_s": round(wall_s, 1),
            "cpu_s_per_process": round(own.ru_utime + own.ru_stime, 1),
            "peak_rss_mb": round(own.ru_maxrss / 1024, 1),
            "processes": world.processes,
            **{k: round(v, 5) for k, v in last.items()},
        },
    )


def main() -> None:
    """Entry point of the stage."""
    run_stage("train", run)


if __name__ == "__main__":
    main()
