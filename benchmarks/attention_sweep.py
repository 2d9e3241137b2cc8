"""Times launch configurations of every attention kernel on this card, to fill the table of configurations.py.

    python -m benchmarks.attention_sweep [--shapes a b c] [--out FILE]

For each kernel a few candidates that hold the architecture's limits, on the shapes of benchmarks/attention.py, in
bfloat16 and in a CUDA graph: shape a, half of b and all of c. A row is the time of the kernel's whole stage with that
kernel's configuration changed and the others as the table has them. Prints one JSON object as its last line: the
fastest candidate of each kernel and shape, `ratio` the largest gain over the table. Appends to
benchmarks/results/attention_sweep.csv.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks import attention_sides as sides
from benchmarks.attention import SHAPES
from benchmarks.measure import append, graph_ms, key
from kernels.masked_attention import triton_kernel
from kernels.masked_attention.configurations import Configuration

RESULTS = Path(__file__).parent / "results" / "attention_sweep.csv"
SHARES = {"a": 1.0, "b": 0.5, "c": 1.0}
TILES = {"forward_tile": 0, "backward_tile": 1, "double_tile": 2}
BLOCKS = {
    "forward_blocks": 0,
    "backward_rows": 1,
    "backward_columns": 1,
    "double_constants": 2,
    "double_rows": 2,
    "double_columns": 2,
}
TILE_CANDIDATES = ("64x64w2s1", "64x64w4s1", "64x64w8s1")
ROW_CANDIDATES = ("128x64w8s2", "128x64w4s2", "64x64w4s2", "64x64w4s3", "64x32w4s2")
DOUBLE_CANDIDATES = ("128x64w8s1", "64x64w8s2", "64x64w4s1", "64x64w4s2", "64x32w4s2")


def candidates(kernel: str) -> list[Configuration]:
    """Configurations to try; a kernel that owns keys has queries and keys exchanged."""
    if kernel in TILES:
        return [Configuration.parse(text) for text in TILE_CANDIDATES]
    found = [Configuration.parse(t) for t in (DOUBLE_CANDIDATES if kernel.startswith("double") else ROW_CANDIDATES)]
    if kernel.endswith("columns"):
        found = [Configuration(to.block_n, to.block_m, to.warps, to.stages) for to in found]
    return found


def stage(problem: sides.Problem, order: int) -> Callable[[], object]:
    """A call of the launches of one stage: 0 forward, 1 backward, 2 double backward."""
    p = problem.packing
    fixed = (p.cu_seqlens, None, p.max_length, p.padded, problem.qkv.shape[-1] ** -0.5)
    out, lse = triton_kernel.attention_forward(problem.qkv, *fixed)
    if order == 0:
        return lambda: triton_kernel.attention_forward(problem.qkv, *fixed)
    saved = problem.qkv, problem.gradient, out, lse
    if order == 1:
        return lambda: triton_kernel.attention_backward(*saved, *fixed)
    return lambda: triton_kernel.attention_double_backward(*saved, problem.cotangent, *fixed)


def time_of(kernel: str, to: Configuration, call: Callable[[], object]) -> float:
    """Milliseconds of the stage with `kernel` launched as `to`. Raises what the compiler or the launch raises."""
    name = "tile_configuration" if kernel in TILES else "block_configuration"
    original = getattr(triton_kernel, name)
    with patch.object(triton_kernel, name, lambda k, *at: to if k == kernel else original(k, *at)):
        return graph_ms(call, budget_ms=25)


def sweep(shape: str, out: Path, stamp: dict) -> dict[str, float | str]:
    """Times every candidate on one shape; the fastest of each kernel, and its gain over the table."""
    problem = sides.make_problem(*SHAPES[shape], SHARES[shape], torch.bfloat16, "cuda")
    kernels = TILES if problem.packing.max_length <= 64 else BLOCKS
    best: dict[str, float | str] = {}
    for kernel, order in kernels.items():
        call = stage(problem, order)
        base = graph_ms(call, budget_ms=25)
        rows = [{"shape": shape, "kernel": kernel, "configuration": "table", "stage_ms": round(base, 4), "note": ""}]
        for to in candidates(kernel):
            row = {"shape": shape, "kernel": kernel, "configuration": str(to)}
            try:
                row |= {"stage_ms": round(time_of(kernel, to, call), 4), "note": ""}
            except Exception as failure:  # noqa: BLE001 a candidate that does not fit is a result, too
                row |= {"stage_ms": "", "note": f"{type(failure).__name__}: {failure}"[:80]}
            rows.append(row)
        append(out, [r | stamp for r in rows])
        timed = [r for r in rows if r["stage_ms"] != ""]
        fastest = min(timed, key=lambda r: r["stage_ms"])
        best |= {f"{kernel}_{shape}": fastest["configuration"], f"gain_{kernel}_{shape}": base / fastest["stage_ms"]}
        print("  ".join(f"{r['configuration']}={r['stage_ms']}" for r in rows), kernel, shape, flush=True)
    return best


def main() -> None:
    """Sweeps, appends to the results, prints the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHARES), default=["a", "c", "b"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    stamp = key(torch.device("cuda"))
    found: dict[str, float | str] = {}
    for shape in options.shapes:
        found |= sweep(shape, options.out, stamp)
    gains = [v for k, v in found.items() if k.startswith("gain_")]
    print(json.dumps({"benchmark": "attention_sweep", "ratio": round(max(gains), 3)} | found | stamp))


if __name__ == "__main__":
    main()
