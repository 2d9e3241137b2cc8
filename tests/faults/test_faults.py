"""Faults of disks, files and processes: the work survives or ends with one clear line, and nothing is lost.

The whole harness of kills runs as `python -m tests.faults.kills --moments 100`; a short form of it runs here.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kernels.task_sampling import TaskBank
from pipeline import train
from pipeline.base.files import remove_leftovers, replaced_folder, write_bytes
from pipeline.base.paths import Paths
from pipeline.base.stage import stage_lock
from pipeline.model.sampler import Sampler
from pipeline.rows.schema import Schema
from pipeline.training.build import build_step
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.step import TrainingStep
from tests.faults.kills import Outcome, Victim, kill_all
from tests.faults.stages import small_workspace
from tests.helpers.workspace import Workspace, wait_until


# -- kills -------------------------------------------------------------------------------------------------------
def check_kills(root: Path, moments: int, stages: tuple[str, ...]) -> None:
    outcomes: dict[str, Outcome] = {}
    kill_all(Victim(root, stages), moments, 1, outcomes)
    assert sum(o.moments for o in outcomes.values()) == moments
    assert [line for o in outcomes.values() for line in o.lost] == []


def test_two_stages_killed_at_random_moments(tmp_path):
    check_kills(tmp_path / "work", 2, ("fetch", "prepare"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_stage_killed_at_random_moments(tmp_path):
    check_kills(tmp_path / "work", 30, ("fetch", "prepare", "tasks", "train", "evaluate", "report"))


# -- damaged files -----------------------------------------------------------------------------------------------
def cut(payload: bytes, other: bytes) -> bytes:
    return payload[: len(payload) // 2]


def flip_a_bit(payload: bytes, other: bytes) -> bytes:
    """One bit of the second half: in a safetensors or npy file it lies in the numbers, not in the header."""
    at = len(payload) * 3 // 4
    return payload[:at] + bytes([payload[at] ^ 4]) + payload[at + 1 :]


def swap(payload: bytes, other: bytes) -> bytes:
    return other


DAMAGES = (cut, flip_a_bit, swap)


@pytest.fixture(scope="module")
def twins(tmp_path_factory) -> tuple[Workspace, Workspace]:
    """Two workspaces with tokens, banks, models and two checkpoints each, from different seeds."""
    out = []
    for seed in (0, 1):
        work = small_workspace(tmp_path_factory.mktemp("twin"))
        work.settings["seed"], work.settings["dataset"] = seed, {"name": "digits"}
        work.prepared()
        state, schema = fresh_state(work), Schema.load(work.where.tokens / "schema.json")
        Sampler.save(work.where.generator, state.average, schema, vars(work.params.network), 16)
        curves = work.where.plots / "train" / "loss.tsv"
        write_bytes(curves, f"step\tloss\n1\t{seed}.5\n".encode())
        for step in (10, 20):
            state.flat_g.values.add_(1.0)
            checkpoints(work).save(step, state, {"loss": (float(seed), 2)})
        out.append(work)
    return out[0], out[1]


def fresh_state(work: Workspace) -> TrainingStep:
    schema = Schema.load(work.where.tokens / "schema.json")
    return build_step(work.params, schema, train.torch.device("cpu"), work.params.seed)


def checkpoints(work: Workspace) -> Checkpoints:
    key = train._run(work.params, work.where).key
    return Checkpoints(work.where.checkpoints / key, {"curves": work.where.plots / "train"})


def damaged(path: Path, other: Path, damage: Callable[[bytes, bytes], bytes]) -> Callable[[], None]:
    """Damages `path`; the returned function repairs it. Written in place, as a bad disk would."""
    before = path.read_bytes()
    after = damage(before, other.read_bytes())
    assert after != before
    path.write_bytes(after)
    return lambda: path.write_bytes(before) and None


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["schema.json", "train.npy", "roles.npy", "families.npy", "bank.json"])
def test_damaged_tokens_and_tasks_are_refused_before_training(twins, name, damage):
    def place(work: Workspace) -> Path:
        return (work.where.tokens if name in ("schema.json", "train.npy") else work.where.tasks / "train") / name

    if name == "schema.json" and damage is swap:  # the two data sets have the same schema: take another file
        repair = damaged(place(twins[0]), twins[1].where.tokens / "summary.json", damage)
    else:
        repair = damaged(place(twins[0]), place(twins[1]), damage)
    try:
        if name == "bank.json" and damage is swap:
            with pytest.raises(ValueError, match="is damaged: its SHA-256"):
                train._verify(twins[0].where)
        else:
            with pytest.raises(ValueError, match=f"{name}|damaged|JSON|utf-8|Expecting|Unterminated|delimiter"):
                train._verify(twins[0].where)
    finally:
        repair()
    train._verify(twins[0].where)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "schema.json"])
def test_a_damaged_model_is_refused(twins, name, damage):
    folder = twins[0].where.generator
    other = twins[1].where.generator / ("model.safetensors" if name == "schema.json" and damage is swap else name)
    repair = damaged(folder / name, other, damage)
    try:
        with pytest.raises(ValueError, match="is damaged: its SHA-256|not valid JSON|does not describe"):
            Sampler.load(folder)
    finally:
        repair()
    assert Sampler.load(folder).sample(2).shape == (2, 65)


@pytest.mark.parametrize("damage", [*DAMAGES, None])
@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "curves/loss.tsv"])
def test_of_a_damaged_checkpoint_the_one_before_is_used(twins, name, damage, capsys):
    work, state = twins[0], fresh_state(twins[0])
    folder = checkpoints(work).folder
    newest = folder / "step-00000020" / name
    other = checkpoints(twins[1]).folder / "step-00000020" / name
    kept = newest.read_bytes()
    if damage is None:
        newest.unlink()
    else:
        damaged(newest, other, damage)
    try:
        before = fresh_state(work).flat_g.values + 1.0
        resumed = checkpoints(work).restore(state)
    finally:
        newest.write_bytes(kept)
    assert resumed.step == 10 and resumed.sums == {"loss": (0.0, 2)}
    assert train.torch.equal(state.flat_g.values, before)
    assert "checkpoint step-00000020 is damaged" in capsys.readouterr().err
    assert (work.where.plots / "train" / "loss.tsv").read_text() == "step\tloss\n1\t0.5\n"


def test_a_whole_checkpoint_of_another_run_is_not_resumed(twins, capsys):
    work, state = twins[0], fresh_state(twins[0])
    folder = checkpoints(work).folder
    kept = folder.with_name("kept")
    shutil.move(folder / "step-00000020", kept)
    shutil.copytree(checkpoints(twins[1]).folder / "step-00000020", folder / "step-00000020")
    try:
        assert checkpoints(work).restore(state).step == 10
    finally:
        shutil.rmtree(folder / "step-00000020")
        shutil.move(kept, folder / "step-00000020")
    assert "it belongs to step 20 of run" in capsys.readouterr().err


def test_roles_beyond_the_codes_do_not_reach_a_network(twins, tmp_path):
    """Two bits hold a fourth code that means nothing: only damage writes it, and the checksum tells."""
    bank = tmp_path / "bank"
    shutil.copytree(twins[0].where.tasks / "train", bank)
    roles = np.load(bank / "roles.npy", allow_pickle=False)
    roles[:] = 0xFF
    np.save(bank / "roles.npy", roles)
    with pytest.raises(ValueError, match=r"roles\.npy is damaged: its SHA-256 is"):
        TaskBank.verify(bank)


# -- full disks and folders that cannot be written ---------------------------------------------------------------
def limited(work: Workspace, stage: str, limit_bytes: int) -> tuple[int, str]:
    """(exit code, output) of a stage whose files may not grow past a limit: what a full disk is to a program."""
    process = subprocess.run(
        work.command(stage),
        cwd=work.root,
        env=work.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
    )
    return process.returncode, process.stdout + process.stderr


def check_refused(work: Workspace, code: int, output: str, results: dict[str, str], wording: str) -> None:
    assert code == 1 and wording in output, output
    assert "Traceback" not in output
    assert work.results() == results
    assert list(work.where.data.rglob("*.tmp")) == []


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path):
    work = small_workspace(tmp_path)
    assert work.run("fetch")[0] == 0 and work.run("prepare")[0] == 0
    results = work.results()
    check_refused(work, *limited(work, "prepare", 8000), results, "prepare: [Errno 27] File too large")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_full_or_read_only_disk(tmp_path, read_only):
    """A disk of 32 MiB: filled to the brim, or read-only, each stage in turn says so; with room again, it runs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], check=True)
    try:
        work, filler = small_workspace(disk), disk / "filler"
        for stage in ("fetch", "prepare", "tasks", "train", "evaluate", "report"):
            code, output = work.run(stage)
            assert code == 0, output
            results = work.results()
            if read_only:
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            else:
                fill(filler)
            code, output = limited(work, stage, resource.RLIM_INFINITY)
            if read_only:
                subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            else:
                filler.unlink()
            wording = "Read-only file system" if read_only else "No space left on device"
            assert code == 1 and wording in output and "Traceback" not in output, output
            growing = ("plots/train/", "models/progress/")
            assert {k: v for k, v in work.results().items() if not k.startswith(growing)} == {
                k: v for k, v in results.items() if not k.startswith(growing)
            }
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    """Writes zeros until the disk is full."""
    with open(path, "wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            return


def test_a_folder_is_exchanged_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "out"
    with replaced_folder(folder) as fresh:
        (fresh / "a").write_text("1")
    with pytest.raises(OSError, match="No space"), replaced_folder(folder) as fresh:
        (fresh / "a").write_text("2")
        raise OSError(28, "No space left on device")
    assert (folder / "a").read_text() == "1" and [p.name for p in tmp_path.iterdir()] == ["out"]
    with replaced_folder(folder) as fresh:
        (fresh / "b").write_text("3")
    assert [p.name for p in folder.iterdir()] == ["b"] and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_killed_processes_alone_are_removed(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, alive = f".x.pid{gone.pid}.abc.tmp", f".x.pid{os.getpid()}.abc.tmp"
    for folder in (tmp_path, tmp_path / "models", tmp_path / "checkpoints" / "key"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / dead).mkdir()
        (folder / dead / "half").write_text("")
        (folder / alive).write_text("")
        (folder / ".other.tmp").write_text("")
    remove_leftovers(tmp_path)
    assert list(tmp_path.rglob(dead)) == [] and len(list(tmp_path.rglob("*.tmp"))) == 6


# -- two processes -----------------------------------------------------------------------------------------------
def test_a_stage_runs_once_at_a_time(tmp_path):
    work = small_workspace(tmp_path)
    with stage_lock("fetch", work.where):
        code, output = work.run("fetch")
    assert code == 1 and f"another process is running the stage 'fetch' in {tmp_path}" in output
    with stage_lock("fetch", work.where), stage_lock("prepare", Paths(tmp_path)):
        assert json.dumps(sorted(p.name for p in work.where.checkpoints.iterdir()))


@pytest.mark.slow(short=True)
def test_a_second_training_run_is_refused_and_the_first_goes_on(tmp_path):
    work = Workspace(tmp_path).prepared()
    first = work.start("train")
    assert wait_until(lambda: any(work.where.checkpoints.glob("*/step-*")), first)
    first.send_signal(signal.SIGSTOP)  # so that it does not end before the second has come so far
    code, output = limited(work, "train", resource.RLIM_INFINITY)
    first.send_signal(signal.SIGCONT)
    assert first.wait(240) == 0
    assert code == 1 and "another process is running the stage 'train'" in output
