"""Fuzzes every reader of files for some minutes. Run: python -m tests.fuzz.run --minutes 5 [--only npy schema]

Inputs are well-formed files spoilt at random: bits, bytes, lengths, JSON values of other types and sizes. Address
space is limited, so that a reader that believes a header's size fails here. Prints inputs and faults per reader.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
import warnings
from pathlib import Path

from tqdm import tqdm

from tests.fuzz.target import Target, fault, kind_of, spoil_bytes, spoil_json
from tests.fuzz.targets import targets

ADDRESS_SPACE_BYTES = 8 << 30  # torch and its libraries map several GiB before they use any


def fuzzed(target: Target, folder: Path, seconds: float, rng: random.Random) -> tuple[int, dict[str, bytes]]:
    """(inputs tried, fault → an input that shows it) of one reader."""
    faults, inputs, end = {}, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        payload = rng.choice(target.seeds)
        for _ in range(rng.randint(1, 2)):
            spoil = spoil_json if target.is_json and rng.random() < 0.7 else spoil_bytes
            try:
                payload = spoil(payload, rng)
            except ValueError:  # it is no JSON any more
                payload = spoil_bytes(payload, rng)
        inputs += 1
        found = fault(target, payload, folder)
        if found:
            faults.setdefault(kind_of(found), payload)
    return inputs, faults


def main() -> None:
    """Entry point: exits with 1 when there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    total = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        found = targets(Path(folder))
        chosen = {k: v for k, v in found.items() if not options.only or k in options.only}
        for name, target in tqdm(chosen.items(), "fuzz", unit="reader", dynamic_ncols=True):
            place = Path(folder) / f"fuzz-{name}"
            place.mkdir()
            share = options.minutes * 60 / len(chosen)
            inputs, faults = fuzzed(target, place, share, random.Random(f"{options.seed} {name}"))
            total, wrong = total + inputs, wrong + len(faults)
            tqdm.write(f"{name:12} {inputs:8} inputs, {len(faults)} faults")
            for text, payload in faults.items():
                tqdm.write(f"  {text}\n    {payload[:200]!r}")
    print(f"{options.minutes:g} minutes, {total} inputs, {wrong} faults")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
