"""Fuzzes every reader of files guided by coverage, each in a process of its own. Run: python -m tests.fuzz.guided --minutes 30

Needs atheris (`pip install -e .[fuzz]`, Linux). libFuzzer keeps the inputs that reach new code of this project's
packages and changes those further, starting from the well-formed files of tests/fuzz/targets.py. A reader that takes
more than TIMEOUT_S for an input or more than RSS_MB of memory is a fault too. Prints inputs and faults per reader.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from tqdm import tqdm

TIMEOUT_S, RSS_MB, LONGEST_BYTES = 20, 3000, 1 << 16
SHOWN = 300  # bytes of an input with a fault
INSTRUMENTED = ["pipeline", "kernels", "omegaconf", "yaml"]
COMPILED = [f"kernels.task_sampling.{name}" for name in ("beta", "bits", "numba_kernel", "packing")]  # by Numba
COMPILED += ["pipeline.forest.gaussian", "pipeline.forest.trees"]


def fuzz_one(name: str, seconds: int, folder: Path) -> None:
    """Never returns: libFuzzer ends the process. A fault is written to `folder`/faults as it is found."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, exclude=COMPILED, enable_loader_override=False):
        from tests.fuzz.target import fault, kind_of, spoil_json
        from tests.fuzz.targets import targets
    warnings.simplefilter("ignore")
    target = targets(folder / "scratch")[name]
    corpus, faults, place = (folder / n for n in ("corpus", "faults", "place"))
    for p in (corpus, faults, place):
        p.mkdir()
    for i, seed in enumerate(target.seeds):
        (corpus / str(i)).write_bytes(seed)
    seen: set[str] = set()

    def try_one(payload: bytes) -> None:
        found = kind_of(fault(target, payload, place))
        if found and found not in seen:
            seen.add(found)
            (faults / f"{len(seen)}.txt").write_text(found, encoding="utf8")
            (faults / f"{len(seen)}.input").write_bytes(payload)

    def mutate(payload: bytes, longest: int, seed: int) -> bytes:
        """A change of a JSON value as often as one of bytes; a random change of bytes soon ends any JSON."""
        rng = random.Random(seed)
        if target.is_json and rng.random() < 0.5:
            try:
                return spoil_json(payload, rng)[:longest]
            except (ValueError, RecursionError):  # it is no JSON any more
                pass
        return atheris.Mutate(payload, longest)

    limits = [f"-max_total_time={seconds}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={RSS_MB}"]
    limits += [f"-max_len={LONGEST_BYTES}", f"-artifact_prefix={faults}/", "-print_final_stats=1", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], try_one, custom_mutator=mutate)
    atheris.Fuzz()


def guided(name: str, seconds: int, folder: Path) -> tuple[int, int, list[str]]:
    """(inputs tried, inputs kept for the code they reached, faults) of one reader."""
    (folder / "scratch").mkdir(parents=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", "--one", name, str(seconds), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    count = re.findall(r"number_of_executed_units:\s*(\d+)|Done (\d+) runs", ended.stderr)
    faults = [
        f"{p.read_text(encoding='utf8')}\n    {p.with_suffix('.input').read_bytes()[:SHOWN]!r}"
        for p in sorted((folder / "faults").glob("*.txt"))
    ]
    faults += [f"{p.name}: {ended.stderr[-300:]}" for p in (folder / "faults").glob("*-*")]  # libFuzzer's own
    if not count:  # the other readers still have their turn
        faults.append(f"fuzzing itself ended with {ended.returncode}: {ended.stderr[-500:]}")
    tried = int(max(count[-1], key=len)) if count else 0
    return tried, len(list((folder / "corpus").iterdir())), faults


def main() -> None:
    """Entry point: exits with 1 when there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, seconds, folder = options.one
        fuzz_one(name, int(seconds), Path(folder))
    from tests.fuzz.targets import targets

    total = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        found = list(targets(Path(folder)))
        chosen = [name for name in found if not options.only or name in options.only]
        seconds = max(1, round(options.minutes * 60 / len(chosen)))
        for name in tqdm(chosen, "fuzz", unit="reader", dynamic_ncols=True):
            inputs, kept, faults = guided(name, seconds, Path(folder) / f"guided-{name}")
            total, wrong = total + inputs, wrong + len(faults)
            tqdm.write(f"{name:12} {inputs:8} inputs, {kept} kept, {len(faults)} faults")
            for text in faults:
                tqdm.write(f"  {text}")
    print(f"{options.minutes:g} minutes, {total} inputs, {wrong} faults")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
