"""Several processes end where one would, up to the order of sums; a run may change their number when it resumes."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from tests.helpers.workspace import Workspace, check_curves, checkpoint_steps, curve_lines, wait_until

# Sums are taken in another order: weights within ±2 move by rounding, 1e-7, at each step.
WEIGHT_TOLERANCE = 2e-5
CURVE_TOLERANCE = 1e-5
SHORT = {
    "network": {"dropout": 0.1},  # drawn by row, like all noise
    "train": {
        "steps": 24,
        "sample_interval": 24,
        "checkpoint_interval": 100,
        # Adam divides by the size of a gradient: where that is rounding alone, what is told from it grows with the step size.
        "lr": 5e-4,
        "generator_lr": 5e-4,
        "warmup_steps": 12,
    },
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def largest_difference(one: Workspace, other: Workspace) -> float:
    """Largest difference between the weights of two trained workspaces, both networks, biases of keys aside.

    A softmax does not notice a bias of the keys; their gradient is rounding alone, of which Adam makes whole steps.
    """
    worst = 0.0
    for name in ("generator", "discriminator"):
        first, second = (load_file(w.where.models / name / "model.safetensors") for w in (one, other))
        assert first.keys() == second.keys()
        for key in first:
            difference = abs(first[key] - second[key])
            if key.endswith("query_key_value.bias"):
                width = len(difference) // 3
                difference[width : 2 * width] = 0.0
            worst = max(worst, float(difference.max()))
    return worst


def curve(work: Workspace, name: str) -> list[float]:
    path = work.where.plots / "train" / "plots" / "metrics" / f"{name}.tsv"
    return [float(line.split("\t")[1]) for line in path.read_text(encoding="utf8").splitlines()[1:]]


def check_same(one: Workspace, other: Workspace) -> None:
    """Same weights, same curves: the losses are means over all processes, the norms those of the averaged gradient."""
    assert largest_difference(one, other) < WEIGHT_TOLERANCE
    for name in ("discriminator_loss", "generator_loss", "cross_entropy", "absolute_error", "r1"):
        assert curve(one, name) == pytest.approx(curve(other, name), abs=CURVE_TOLERANCE), name
    check_curves(other)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory) -> Workspace:
    work = Workspace(tmp_path_factory.mktemp("one"), SHORT).prepared()
    code, output = work.run("train")
    assert code == 0, output
    return work


def trained(root: Path, processes: int, *, torchrun: bool = False, sharding: str = "none") -> Workspace:
    work = Workspace(root, {**SHORT, "train": {**SHORT["train"], "sharding": sharding}}).prepared()
    if torchrun:
        process = work.start("train", launcher=(*TORCHRUN, str(processes), "-m"))
        code = process.wait(240)
    else:
        code, _ = work.run("train", f"train.processes={processes}")
    assert code == 0, work.output("train")
    metrics = json.loads((work.where.metrics / "train.json").read_text(encoding="utf8"))
    assert metrics["processes"] == processes
    return work


@pytest.mark.parametrize("sharding", ["none", pytest.param("optimiser", marks=pytest.mark.slow)])
def test_two_processes_stopped_then_finished_by_one(tmp_path, one_process, sharding):
    work = Workspace(tmp_path, SHORT).prepared()
    process = work.start("train", "train.processes=2", f"train.sharding={sharding}")
    assert wait_until(lambda: curve_lines(work) >= 2, process), work.output("train")
    process.terminate()
    assert process.wait(60) == 143, work.output("train")
    (saved,) = checkpoint_steps(work)
    assert 8 <= saved < 24 and "Traceback" not in work.output("train")
    code, output = work.run("train")
    assert code == 0, output
    assert json.loads((work.where.metrics / "train.json").read_text(encoding="utf8"))["resumed_at_step"] == saved
    check_same(one_process, work)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "torchrun", "sharding"),
    [(2, True, "none"), (4, True, "none"), (4, False, "none"), (2, False, "optimiser"), (4, True, "optimiser")],
)
def test_more_processes_end_where_one_does(tmp_path, one_process, processes, torchrun, sharding):
    check_same(one_process, trained(tmp_path, processes, torchrun=torchrun, sharding=sharding))


@pytest.mark.slow
def test_torchrun_starts_again_after_a_killed_worker(tmp_path, one_process):
    work = Workspace(tmp_path, {**SHORT, "train": {**SHORT["train"], "checkpoint_interval": 5}}).prepared()
    launcher = (*TORCHRUN, "2", "--max-restarts", "1", "-m")
    process = work.start("train", launcher=launcher)
    workers: list[psutil.Process] = []

    def both_started() -> bool:
        children = psutil.Process(process.pid).children()
        workers[:] = [c for c in children if "pipeline.train" in " ".join(c.cmdline())]
        return len(workers) == 2

    assert wait_until(both_started, process), work.output("train")  # looked for before there is any haste
    assert wait_until(lambda: bool(checkpoint_steps(work)), process), work.output("train")
    workers[-1].kill()
    assert process.wait(240) == 0, work.output("train")
    metrics = json.loads((work.where.metrics / "train.json").read_text(encoding="utf8"))
    assert metrics["resumed_at_step"] >= 5, work.output("train")
    check_same(one_process, work)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "optimiser"])
def test_two_runs_with_as_many_processes_are_identical(tmp_path, sharding):
    one, other = (trained(tmp_path / name, 2, sharding=sharding) for name in "ab")
    assert largest_difference(one, other) == 0.0


@pytest.mark.slow
def test_one_stopped_process_goes_on_as_two_that_share_the_optimiser(tmp_path, one_process):
    work = Workspace(tmp_path, SHORT).prepared()
    process = work.start("train")
    assert wait_until(lambda: curve_lines(work) >= 2, process), work.output("train")
    process.terminate()
    assert process.wait(60) == 143, work.output("train")
    code, output = work.run("train", "train.processes=2", "train.sharding=optimiser")
    assert code == 0, output
    assert json.loads((work.where.metrics / "train.json").read_text(encoding="utf8"))["resumed_at_step"] >= 8
    check_same(one_process, work)
