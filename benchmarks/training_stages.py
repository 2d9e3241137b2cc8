"""What a step of each stage of the default training costs on one CPU thread, beside networks that do more.

    python -m benchmarks.training_stages [--rounds 6] [--out FILE]

Stages: `context`, the context network draws alone; `generator`, the transformer with it; `adversarial`, the discriminator
as well, a mean over `penalty_interval` steps. Networks: `default`; `both`, categories named by the transformer too;
`depth_2`, that with two blocks, as the default was before. All see the same random batches of the default mixture, in
turn; a cell is the least CPU time of the rounds, in milliseconds a step. `ratio` is to `depth_2` in the stage adversarial
and generator; of the stage context to the default's stage generator.

Appends to benchmarks/results/training_stages.csv and prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measure import append, key, rounds_ms
from benchmarks.training_step import SIZES, make_batches
from pipeline.base.model_groups import NetworkParams
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.training.batches import Batch
from pipeline.training.step import TrainingStep

RESULTS = Path(__file__).parent / "results" / "training_stages.csv"
SHARES = {"context": 0.1, "generator": 0.62, "adversarial": 0.9}  # of the training that lie behind
NETWORKS = {
    "default": NetworkParams(),
    "both": NetworkParams(category_network="both"),
    "depth_2": NetworkParams(category_network="both", depth=2),
}


def cycle(network: NetworkParams, stage: str, batches: list[Batch]) -> Callable[[], None]:
    """A call that runs as many steps as lie from penalty to penalty."""
    schema, _, train = SIZES["digits"]
    train = replace(train, body_start=0.6, adversarial_start=0.65)
    torch.manual_seed(0)
    generator = Generator(schema, network)
    discriminator = Discriminator(schema, network, minibatch_group=train.minibatch_group)
    step = TrainingStep(generator, discriminator, deepcopy(generator), train)

    def call() -> None:
        for i in range(train.penalty_interval):
            step(batches[i % len(batches)], i, i, SHARES[stage])

    return call


def main() -> None:
    """Measures every pair, appends to the results and prints the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="alternating rounds; the least time counts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    batches, interval = make_batches("digits", torch.device("cpu")), SIZES["digits"][2].penalty_interval
    pairs = [("context", "default"), *((s, n) for s in ("generator", "adversarial") for n in NETWORKS)]
    least = rounds_ms({f"{s} {n}": cycle(NETWORKS[n], s, batches) for s, n in pairs}, options.rounds)
    rows, stamp = [], key()
    for stage, network in pairs:
        beside = "generator default" if stage == "context" else f"{stage} depth_2"
        ms = least[f"{stage} {network}"]
        rows.append(
            stamp
            | {"stage": stage, "network": network, "step_ms": round(ms / interval, 2)}
            | {"baseline": beside, "ratio": round(least[beside] / ms, 2)}
        )
        print(f"{stage:12} {network:8} {rows[-1]['step_ms']:8.2f} ms  {rows[-1]['ratio']:.2f} × {beside}", flush=True)
    append(options.out, rows)
    flat = {f"ratio_{row['stage']}_{row['network']}": row["ratio"] for row in rows}
    print(json.dumps({"benchmark": "training_stages"} | flat | stamp))


if __name__ == "__main__":
    main()
