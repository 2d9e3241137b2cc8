"""Kills stages at random moments and says what became of the files. Run: python -m tests.faults.kills --moments 100

A moment is drawn uniformly from the time between the stage's lock, that is, after its imports, and its usual end.
After every kill the finished results of all stages must be there whole and unchanged, or, for what training writes
as it goes, absent; after every few, the stage is run again and must end with the results of an undisturbed run.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from tests.faults.stages import STAGES, small_workspace
from tests.helpers.workspace import Workspace, wait_until

AS_IT_GOES = ("plots/train/", "models/progress/")  # what training writes before it ends, complete only when it has
UNEQUAL = ("report/", "metrics/report", "metrics/times/")  # holds times of day
KILLS_BEFORE_RESTART = 4


@dataclass
class Outcome:
    """What became of the kills of one stage. lost: names of files that were damaged or gone, and of failed restarts."""

    moments: int = 0
    in_flight: int = 0
    restarts: int = 0
    lost: list[str] = field(default_factory=list)


class Victim:
    """A workspace in which every stage has run, and how long each takes after its imports, in seconds.

    Every stage runs twice, since the first time Numba compiles, and the shorter time counts."""

    def __init__(self, root: Path, stages: tuple[str, ...] = STAGES) -> None:
        self.work: Workspace = small_workspace(root)
        self.duration_s = {stage: min(self._timed_run(stage) for _ in range(2)) for stage in stages}
        self.results = self.compared()

    def compared(self) -> dict[str, str]:
        """Relative path → SHA-256 of the results that are the same in every run; leftovers of the killed aside."""
        found = self.work.results()
        return {k: v for k, v in found.items() if not k.startswith(UNEQUAL) and ".tmp" not in k}

    def kill(self, stage: str, share: float) -> bool:
        """Kills the stage at `share` of its duration; False when it had ended before."""
        process = self.work.start(stage)
        lock = self._lock(stage)
        before = lock.stat().st_mtime_ns
        wait_until(lambda: lock.stat().st_mtime_ns != before, process)
        time.sleep(share * self.duration_s[stage])
        process.kill()
        return process.wait(60) == -signal.SIGKILL

    def damage(self) -> list[str]:
        """Finished results that are not what they were; results that training writes as it goes may be absent."""
        now = self.compared()
        changed = [k for k, v in self.results.items() if now.get(k) != v and not k.startswith(AS_IT_GOES)]
        page = self.work.where.report / "index.html"
        if "report" in self.duration_s and not page.read_text(encoding="utf8").rstrip().endswith("</html>"):
            changed.append("report/index.html")
        return changed

    def restart(self, stage: str) -> list[str]:
        """Runs the stage to its end; what is wrong then: its exit code, leftovers, results that differ."""
        code, output = self.work.run(stage)
        wrong = [] if code == 0 else [f"{stage} ended with {code}: {output[-300:]}"]
        wrong += [str(p) for p in self.work.where.data.rglob("*.tmp")]
        return wrong + [k for k, v in self.compared().items() if self.results.get(k) != v] + self.damage()

    def _timed_run(self, stage: str) -> float:
        process, lock = self.work.start(stage), self._lock(stage)
        before = lock.stat().st_mtime_ns if lock.exists() else 0
        wait_until(lambda: lock.exists() and lock.stat().st_mtime_ns != before, process)
        started = time.monotonic()
        assert process.wait(300) == 0, self.work.output(stage)
        return time.monotonic() - started

    def _lock(self, stage: str) -> Path:
        return self.work.where.data / "checkpoints" / f".{stage}.lock"


def kill_all(victim: Victim, moments: int, seed: int, outcomes: dict[str, Outcome]) -> None:
    """Fills stage → outcome with `moments` kills shared out over the stages."""
    rng = random.Random(seed)
    outcomes.update({stage: Outcome() for stage in victim.duration_s})
    with tqdm(total=moments, desc="kills", unit="kill", dynamic_ncols=True) as bar:
        for number in range(moments):
            # All kills of a stage follow one another, so that a kill meets what the one before has left.
            stage = list(outcomes)[number * len(outcomes) // moments]
            outcome = outcomes[stage]
            outcome.moments += 1
            outcome.in_flight += victim.kill(stage, rng.random())
            outcome.lost += victim.damage()
            last = number + 1 == moments or list(outcomes)[(number + 1) * len(outcomes) // moments] != stage
            if last or outcome.moments % KILLS_BEFORE_RESTART == 0:
                outcome.restarts += 1
                outcome.lost += victim.restart(stage)
            bar.update()


def table(outcomes: dict[str, Outcome]) -> str:
    """Markdown: stage, kills, those that hit it running, restarts that ended as an undisturbed run, lost."""
    lines = [
        "| stage | kill -9 | hit while running | restarts | lost or wrong |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    total: Counter[str] = Counter()
    for stage, o in outcomes.items():
        lines.append(f"| {stage} | {o.moments} | {o.in_flight} | {o.restarts} | {len(o.lost)} |")
        total.update(moments=o.moments, in_flight=o.in_flight, restarts=o.restarts, lost=len(o.lost))
    lines.append(f"| **all** | {total['moments']} | {total['in_flight']} | {total['restarts']} | {total['lost']} |")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            kill_all(Victim(Path(folder) / "work"), options.moments, options.seed, outcomes)
    finally:  # an interrupted run says what it has seen
        print(table(outcomes), flush=True)
        for outcome in outcomes.values():
            for line in outcome.lost:
                print("lost or wrong:", line)


if __name__ == "__main__":
    main()
