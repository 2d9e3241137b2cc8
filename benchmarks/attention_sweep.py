"""Times launch configurations of every attention kernel on this card, to fill the table of configurations.py.

    python -m benchmarks.attention_sweep [--shapes a b c celeba] [--seconds 60] [--out FILE]

Each kernel is launched alone, in a CUDA graph, in bfloat16, on inputs as its stage leaves them; candidates are compiled
beforehand by a process per core, into Triton's cache on disk. Shapes (B, H, L, D): those of benchmarks/attention.py,
all visible, and the training of CelebA-64 with the tiny network (batch 384, 97 % visible). A candidate that fails, or
that no time is left for, costs only itself; each one's results are compared with the table's.

Prints the fastest of each kernel and shape; rows for the table of configurations.py, chosen by the geometric mean over
the shapes of one head dimension; every stage as a whole with the table and with those rows, against its roofline
floor. The last line is one JSON object, `ratio` the largest gain of a kernel over the table. Appends to
benchmarks/results/attention_sweep.csv: `stage_ms` is the time of the kernel alone (before commit 9834b88, of its stage).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks import attention_sides as sides
from benchmarks.attention import SHAPES, STAGES, floors_ms
from benchmarks.measure import append, ceilings, graph_ms, key
from kernels.masked_attention import launches, triton_blocks, triton_tile
from kernels.masked_attention.configurations import HEAD_DIMS, Configuration, block_configuration, tile_configuration

RESULTS = Path(__file__).parent / "results" / "attention_sweep.csv"
PROBLEMS = {name: (*SHAPES[name], 1.0) for name in ("a", "b", "c")} | {"celeba": (384, 12, 258, 32, 0.97)}
TILES = {"forward_tile": (0, 2), "backward_tile": (1, 5), "double_tile": (2, 12)}  # kernel: its stage, its products
BLOCKS = {
    "forward_blocks": (0, 2),
    "backward_rows": (1, 3),
    "backward_columns": (1, 4),
    "double_constants": (2, 5),
    "double_rows": (2, 7),
    "double_columns": (2, 8),
}
WRITTEN = {  # results of each kernel, by the names of its arguments
    "forward_blocks": ("out", "lse"),
    "backward_rows": ("delta", "d_qkv"),
    "double_constants": ("delta", "mean", "w", "d_gradient"),
    "forward_tile": ("out", "lse"),
    "double_tile": ("d_qkv", "d_gradient"),
}
TILE_CANDIDATES = ("64x64w2s1", "64x64w4s1", "64x64w8s1")
# tokens that a program owns x tokens of a step of its sweep: queries x keys but for the kernels of columns
CANDIDATES = {
    "forward_blocks": (
        "64x64w4s2", "64x64w4s3", "64x64w4s4", "64x128w4s2", "128x64w8s2", "128x64w8s3", "128x128w8s2",
    ),
    "backward_rows": ("64x64w4s2", "64x64w4s3", "64x128w4s2", "64x32w4s2", "128x64w8s2", "128x128w8s2"),
    "backward_columns": (
        "64x32w4s2", "64x32w4s3", "64x32w4s2r128", "64x64w4s1", "64x64w4s2", "128x32w8s2", "128x64w8s2",
    ),
    "double_constants": ("64x32w4s2", "64x32w4s3", "64x64w4s1", "64x64w4s2", "128x32w8s2", "128x64w8s1"),
    "double_rows": (
        "64x32w4s1", "64x32w4s2", "64x32w4s2r128", "64x64w4s1", "64x64w4s2", "128x32w8s2", "128x64w8s1",
    ),
    "double_columns": (
        "64x16w4s2", "64x32w4s1", "64x32w4s2", "64x64w4s1", "128x32w8s1", "128x32w8s2",
    ),
}  # fmt: skip


def candidates(kernel: str) -> list[Configuration]:
    """Configurations to try; a kernel that owns keys has queries and keys exchanged."""
    if kernel in TILES:
        return [Configuration.parse(text) for text in TILE_CANDIDATES]
    found = [Configuration.parse(text) for text in CANDIDATES[kernel]]
    if kernel.endswith("columns"):
        found = [Configuration(to.block_n, to.block_m, to.warps, to.stages, to.registers) for to in found]
    return found


def job(kernel: str, to: Configuration, heads: int, dim: int) -> tuple:
    """What `compile_candidate` takes: kernels of blocks are the same for any number of heads."""
    return kernel, to, heads if kernel in TILES else 2, dim


def compile_candidate(kernel: str, to: Configuration, heads: int, dim: int) -> None:
    """Compiles one launch into Triton's cache on disk, in a process of its own. Raises what the compiler raises."""
    function = getattr(triton_tile if kernel in TILES else triton_blocks, kernel)
    types = dict.fromkeys(("lse", "delta", "mean", "w"), torch.float32)
    types |= dict.fromkeys(("qkv", "out", "gradient", "cotangent", "d_qkv", "d_gradient"), torch.bfloat16)
    types |= {"cu_seqlens": torch.int32, "rank": torch.int32, "key_rank": torch.int32, "scale": 0.1, "scale_log2": 0.1}
    types |= {"tokens": 64, "heads": heads, "blocks": 5}
    block_d = max(16, 1 << (dim - 1).bit_length())
    same = {"D": dim, "BLOCK_D": block_d, "HAS_RANK": False, "PRECISION": "ieee"}
    arguments = [types[name] for name in function.arg_names if name in types]
    function.warmup(*arguments, grid=(1,), **same, **sizes(kernel, to))


def compile_all(jobs: list[tuple], deadline: float) -> dict[tuple, str]:
    """Why each job that is not in the cache is not. Must run before this process touches the card: it forks."""
    missing = dict.fromkeys(jobs, "not compiled in time")
    workers = max(1, min(len(jobs), (os.cpu_count() or 1) - 1))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("fork"))
    futures = {pool.submit(compile_candidate, *job): job for job in jobs}
    try:
        for future in as_completed(futures, timeout=max(1.0, deadline - time.monotonic())):
            failure = future.exception()
            missing[futures[future]] = "" if failure is None else f"{type(failure).__name__}: {failure}"
    except TimeoutError:
        print("no time left to compile more", flush=True)
    pool.shutdown(wait=False, cancel_futures=True)
    return {job: why for job, why in missing.items() if why}


def sizes(kernel: str, to: Configuration) -> dict:
    """Compile-time sizes and options of a launch."""
    blocks = {"BLOCK": to.block_m} if kernel in TILES else {"BLOCK_M": to.block_m, "BLOCK_N": to.block_n}
    return blocks | to.options


class Recorder:
    """Stands for a kernel: keeps the arguments of a launch, then launches."""

    def __init__(self, kernel):
        self.kernel, self.arguments, self.same = kernel, (), {}

    def __getitem__(self, grid):
        def launch(*arguments, **keywords):
            sized = ("BLOCK", "BLOCK_M", "BLOCK_N", "num_warps", "num_stages", "maxnreg")
            self.arguments, self.same = arguments, {k: v for k, v in keywords.items() if k not in sized}
            return self.kernel[grid](*arguments, **keywords)

        return launch


def stages(problem: sides.Problem) -> tuple[Callable[[], object], ...]:
    """Calls of the launches of forward, backward and double backward."""
    p = problem.packing
    fixed = (p.cu_seqlens, None, p.max_length, p.padded, problem.qkv.shape[-1] ** -0.5)
    out, lse = launches.attention_forward(problem.qkv, *fixed)
    saved = problem.qkv, problem.gradient, out, lse
    return (
        lambda: launches.attention_forward(problem.qkv, *fixed),
        lambda: launches.attention_backward(*saved, *fixed),
        lambda: launches.attention_double_backward(*saved, problem.cotangent, *fixed),
    )


def record(problem: sides.Problem) -> dict[str, Recorder]:
    """The launches of all stages, with every buffer filled as its stage leaves it."""
    module, kernels = (triton_tile, TILES) if problem.packing.max_length <= 64 else (triton_blocks, BLOCKS)
    recorders = {name: Recorder(getattr(module, name)) for name in kernels}
    with ExitStack() as stack:
        for name, recorder in recorders.items():
            stack.enter_context(patch.object(module, name, recorder))
        for call in stages(problem):
            call()
    torch.cuda.synchronize()
    return recorders


def launcher(kernel: str, recorder: Recorder, to: Configuration, packing) -> Callable[[], object]:
    """A call that launches the recorded kernel as `to`."""
    heads = recorder.arguments[0].shape[2]
    arguments, programs = recorder.arguments, packing.batch * heads
    if kernel in BLOCKS:
        blocks = -(-packing.max_length // (to.block_n if kernel.endswith("columns") else to.block_m))
        arguments, programs = (*arguments[:-1], blocks), programs * blocks
    return lambda: recorder.kernel[(programs,)](*arguments, **recorder.same, **sizes(kernel, to))


def written(kernel: str, recorder: Recorder) -> list[torch.Tensor]:
    """The tensors that a recorded kernel writes."""
    names = WRITTEN.get(kernel, ("d_qkv",))
    return [x for name, x in zip(recorder.kernel.arg_names, recorder.arguments, strict=False) if name in names]


def measure(kernel: str, recorder: Recorder, to: Configuration, packing, true: list[torch.Tensor]) -> dict:
    """Time of one candidate, and the largest relative difference of its results from `true`."""
    call = launcher(kernel, recorder, to, packing)
    call()
    found = written(kernel, recorder)
    worst = max(((a.float() - b.float()).norm() / b.float().norm()).item() for a, b in zip(found, true, strict=True))
    if not worst < 0.02:
        raise ValueError(f"differs from the table's result by {worst:.1e}")
    return {"stage_ms": round(graph_ms(call, budget_ms=20), 4), "note": f"alone; differs by {worst:.0e}"}


def table_of(kernel: str, problem: sides.Problem) -> Configuration:
    """What the table has for this kernel and problem on this card."""
    at = problem.qkv.shape[-1], 2, launches.architecture_of(problem.qkv.device)
    if kernel in BLOCKS:
        return block_configuration(kernel, *at)
    return tile_configuration(kernel, problem.packing.max_length, *at)


def sweep(shape: str, problem: sides.Problem, missing: dict, deadline: float) -> list[dict]:
    """Rows of results: the table's configuration and every candidate of every kernel on one shape."""
    rows, recorders = [], record(problem)
    for kernel, recorder in recorders.items():
        table = table_of(kernel, problem)
        launcher(kernel, recorder, table, problem.packing)()
        true = [x.clone() for x in written(kernel, recorder)]
        for to in [table] + [c for c in candidates(kernel) if c != table]:
            row = {"shape": shape, "kernel": kernel, "configuration": str(to), "stage_ms": ""}
            why = missing.get(job(kernel, to, *problem.qkv.shape[2:]), "")
            if to != table and time.monotonic() > deadline:
                why = "no time left"
            try:
                row |= {"note": why[:80]} if why else measure(kernel, recorder, to, problem.packing, true)
            except Exception as failure:  # noqa: BLE001 a candidate that does not fit is a result, too
                row |= {"note": f"{type(failure).__name__}: {failure}"[:80]}
            rows.append(row | {"table": to == table})
        timed = " ".join(f"{r['configuration']}={r['stage_ms']}" for r in rows if r["kernel"] == kernel)
        print(shape, kernel, timed, flush=True)
    return rows


def fastest(rows: list[dict], kernel: str, shapes: list[str]) -> str | None:
    """The configuration with the least geometric mean of times over the shapes, of those timed on all of them."""
    times: dict[str, list[float]] = {}
    for r in rows:
        if r["kernel"] == kernel and r["shape"] in shapes and r["stage_ms"] != "":
            times.setdefault(r["configuration"], []).append(math.log(r["stage_ms"]))
    whole = {to: sum(logs) for to, logs in times.items() if len(logs) == len(shapes)}
    return min(whole, key=whole.get) if whole else None


def summary(rows: list[dict], problems: dict[str, sides.Problem]) -> dict[str, float | str]:
    """Prints the fastest of each kernel and shape; the same for the JSON line."""
    out: dict[str, float | str] = {}
    products = TILES | BLOCKS
    print(f"\n{'kernel':18s}{'shape':8s}{'table':>16s}{'ms':>9s}{'fastest':>18s}{'ms':>9s}{'gain':>7s}{'TFLOP/s':>9s}")
    for kernel in dict.fromkeys(r["kernel"] for r in rows):
        for shape, problem in problems.items():
            here = [r for r in rows if (r["kernel"], r["shape"]) == (kernel, shape) and r["stage_ms"] != ""]
            base = next((r for r in here if r["table"]), None)
            if base is None:
                continue
            best = min(here, key=lambda r: r["stage_ms"])
            gain = base["stage_ms"] / best["stage_ms"]
            work = 2 * products[kernel][1] * problem.pairs * problem.qkv.shape[2] * problem.qkv.shape[3]
            print(
                f"{kernel:18s}{shape:8s}{base['configuration']:>16s}{base['stage_ms']:9.4f}"
                f"{best['configuration']:>18s}{best['stage_ms']:9.4f}{gain:7.3f}{work / best['stage_ms'] / 1e9:9.0f}"
            )
            out |= {f"{kernel}_{shape}": best["configuration"], f"gain_{kernel}_{shape}": round(gain, 3)}
    return out


def table_rows(rows: list[dict], problems: dict[str, sides.Problem]) -> dict[tuple[str, int], Configuration]:
    """Prints rows for the table of configurations.py; (kernel, head dimension) → the configuration chosen."""
    chosen: dict[tuple[str, int], Configuration] = {}
    print("\nrows of bfloat16 for configurations.py:")
    for kernel in (k for k in BLOCKS if any(r["kernel"] == k for r in rows)):
        architecture = launches.architecture_of(torch.device("cuda"))
        cells = []
        for dim in HEAD_DIMS:
            shapes = [s for s, p in problems.items() if p.qkv.shape[3] == dim and p.packing.max_length > 64]
            found = fastest(rows, kernel, shapes) if shapes else None
            if found is not None:
                chosen[kernel, dim] = Configuration.parse(found)
            cells.append(found or str(block_configuration(kernel, dim, 2, architecture)))
        print(f"{architecture:4d} {kernel:16s} 2  {'  '.join(f'{c:10s}' for c in cells).rstrip()}")
    return chosen


def whole_stages(shape: str, problem: sides.Problem, chosen: dict, rates: tuple[float, float]) -> dict[str, float]:
    """Prints each stage as a whole, with the table and with the chosen rows, and its share of the roofline floor."""
    out = {}
    dim, original = problem.qkv.shape[3], launches.block_configuration
    for stage, call, floor in zip(STAGES, stages(problem), floors_ms(problem, rates), strict=True):
        before = graph_ms(call, budget_ms=20)
        with patch.object(launches, "block_configuration", lambda k, *at: chosen.get((k, dim)) or original(k, *at)):
            after = graph_ms(call, budget_ms=20)
        out |= {f"{stage}_{shape}_ms": round(after, 4), f"{stage}_{shape}_percent": round(100 * floor / after, 1)}
        print(
            f"{shape:8s}{stage:16s} table {before:.4f} ms ({100 * floor / before:.1f} % of the floor), "
            f"chosen {after:.4f} ms ({100 * floor / after:.1f} %)",
            flush=True,
        )
    return out


def main() -> None:
    """Compiles, sweeps, appends to the results, prints the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=tuple(PROBLEMS), default=["celeba", "b", "c"])
    parser.add_argument("--seconds", type=float, default=60.0, help="when to stop: 0.45 of it for compilation at most")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    start = time.monotonic()
    jobs = [
        job(kernel, to, PROBLEMS[shape][1], PROBLEMS[shape][3])
        for kernel in TILES | BLOCKS
        for shape in options.shapes
        if (PROBLEMS[shape][2] <= 64) == (kernel in TILES)
        for to in candidates(kernel)
    ]
    jobs = list(dict.fromkeys(jobs))
    missing = compile_all(jobs, start + 0.45 * options.seconds)
    print(f"{len(jobs) - len(missing)} of {len(jobs)} candidates compiled after {time.monotonic() - start:.0f} s")
    for failed, why in missing.items():
        print(*failed, why[:160], flush=True)
    stamp = key(torch.device("cuda"))
    problems: dict[str, sides.Problem] = {}
    rows: list[dict] = []
    for shape in options.shapes:
        problems[shape] = sides.make_problem(*PROBLEMS[shape], torch.bfloat16, "cuda")
        rows += sweep(shape, problems[shape], missing, start + 0.85 * options.seconds)
    columns = ("shape", "kernel", "configuration", "stage_ms", "note")
    append(options.out, [{k: r.get(k, "") for k in columns} | stamp for r in rows])
    found = summary(rows, problems)
    chosen = table_rows(rows, problems)
    rates = ceilings()
    print()
    for shape, problem in problems.items():
        found |= whole_stages(shape, problem, chosen, rates)
    gains = [v for k, v in found.items() if k.startswith("gain_")]
    print(f"{time.monotonic() - start:.0f} s")
    print(json.dumps({"benchmark": "attention_sweep", "ratio": max(gains) if gains else None} | found | stamp))


if __name__ == "__main__":
    main()
