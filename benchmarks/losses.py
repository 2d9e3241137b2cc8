"""The discriminator's losses, gradients and per-family statistics in one launch against eager and compiled PyTorch.

    python -m benchmarks.losses [--rows 512 4096] [--out FILE]

All terms (adversarial, mismatched source, communication) with their gradients, 11 families. Under a megabyte moves,
so launches are what it costs: expect a clear gain over eager code and about a tie with torch.compile. On a card the
sides are our Triton kernel, our reference in eager PyTorch and the same compiled, in a stream and in a CUDA graph.
On a CPU the reference, whose statistics are segment sums, meets the same losses with a loop over families. The same
run checks every output against float64.

Prints one JSON object as its last line; `ratio` is eager over ours, the least over the row counts. Appends to
benchmarks/results/losses.csv (losses_cpu.csv on a CPU).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import append, graph_ms, key, rounds_ms, stream_ms
from kernels.discriminator_losses import discriminator_losses
from kernels.discriminator_losses.reference import adversarial_rows

RESULTS = Path(__file__).parent / "results" / "losses.csv"
FAMILIES = 11
WEIGHTS = {"adversarial_weight": 1.0, "mismatch_weight": 1.0, "communication_weight": 0.5}


def make_inputs(rows: int, device: str, dtype: torch.dtype = torch.float32) -> dict:
    """Random logits of a batch: real, fake, mismatched, four cross logits; family and has_source of each row."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, rows, generator=generator).to(device, dtype)
    family = torch.randint(FAMILIES, (rows,), generator=generator).to(device)
    has_source = (torch.rand(rows, generator=generator) < 0.7).to(device)
    return {"logits": [x.clone().requires_grad_(True) for x in logits], "family": family, "has_source": has_source}


def losses(inputs: dict, backend: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    """(loss, statistics) of the discriminator by our public call."""
    real, fake, mismatched, *cross = inputs["logits"]
    return discriminator_losses(
        real, fake, inputs["family"], mismatched=mismatched, has_source=inputs["has_source"], cross=tuple(cross),
        n_families=FAMILIES, backend=backend, **WEIGHTS,
    )  # fmt: skip


def losses_by_loop(inputs: dict) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The same losses, with the statistics taken family by family, as a training loop's logging does."""
    real, fake, mismatched, *cross = inputs["logits"]
    loss, _ = discriminator_losses(
        real, fake, torch.zeros_like(inputs["family"]), mismatched=mismatched, has_source=inputs["has_source"],
        cross=tuple(cross), n_families=1, backend="reference", **WEIGHTS,
    )  # fmt: skip
    rows = adversarial_rows(real, fake, "relativistic", generator=False)
    means = []
    for n in range(FAMILIES):
        own = inputs["family"] == n
        means.append(torch.stack([x[own].mean() for x in (rows, real, fake, (real > fake).float())]))
    return loss, tuple(means)


def with_gradients(function: Callable[[dict], tuple], inputs: dict) -> Callable[[], tuple[Tensor, ...]]:
    """A call for the loss, the statistics and the gradient of every logit."""

    def call() -> tuple[Tensor, ...]:
        loss, statistics = function(inputs)
        return loss, *statistics, *torch.autograd.grad(loss, inputs["logits"])

    return call


def relative_error(rows: int, device: str, backend: str) -> float:
    """Largest relative error of loss, statistics and gradients against the reference in float64."""
    found = with_gradients(lambda x: losses(x, backend), make_inputs(rows, device))()
    wide = with_gradients(lambda x: losses(x, "reference"), make_inputs(rows, device, torch.float64))()
    return max(((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, wide, strict=True))


def measure(rows: int, device: str) -> list[dict]:
    """Rows of results, one a side."""
    inputs = make_inputs(rows, device)
    on_card = device == "cuda"
    own = "triton" if on_card else "reference"
    error = relative_error(rows, device, own)
    calls = {"ours": with_gradients(lambda x: losses(x, own), inputs)}
    if on_card:
        compiled = torch.compile(lambda x: losses(x, "reference"), dynamic=False)
        calls["eager"] = with_gradients(lambda x: losses(x, "reference"), inputs)
        calls["compiled"] = with_gradients(compiled, inputs)
        times = {n: {"stream_us": stream_ms(c) * 1e3, "graph_us": graph_ms(c) * 1e3} for n, c in calls.items()}
    else:
        calls["eager"] = with_gradients(losses_by_loop, inputs)
        times = {n: {"stream_us": ms * 1e3} for n, ms in rounds_ms(calls, 50).items()}
    first = times["ours"]
    out = []
    for name, found in times.items():
        row = {"rows": rows, "side": name} | {k: f"{v:.1f}" for k, v in found.items()}
        out.append(row | {"ratio": f"{found['stream_us'] / first['stream_us']:.2f}", "error": f"{error:.1e}"})
    return out


def main() -> None:
    """Measures, appends to the results, prints the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[512, 4096], help="rows of the batch")
    parser.add_argument("--out", type=Path, default=None, help="CSV to append to")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out = options.out or (RESULTS if device == "cuda" else RESULTS.with_name("losses_cpu.csv"))
    torch.set_num_threads(1)
    stamp = key(torch.device(device))
    ratios = {}
    for rows in options.rows:
        found = measure(rows, device)
        append(out, [r | stamp for r in found])
        for r in found:
            print("  ".join(f"{k}={v}" for k, v in r.items()), flush=True)
            ratios[f"ratio_{r['side']}_{rows}"] = float(r["ratio"])
    least = min(v for k, v in ratios.items() if k.startswith("ratio_eager"))
    print(json.dumps({"benchmark": "losses", "ratio": least} | ratios | stamp))


if __name__ == "__main__":
    main()
