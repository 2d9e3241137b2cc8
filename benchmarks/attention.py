"""Masked attention to second order against what PyTorch offers, with the roofline of the card.

    python -m benchmarks.attention [--shapes a b c causal_1024 causal_512] [--shares 1.0 0.5 0.25] [--quick] [--out FILE]

Shapes (B, H, L, D) and visible shares are those of training: a MNIST with patch 4, b CelebA-64 with patch 4, c
CelebA-64 with patch 2. Sides: ours on packed tokens; eager math attention with create_graph on all L tokens and on
rows padded to the longest; torch.compile of the same with torch.func.grad; to first order only, scaled dot-product
attention, PyTorch's packed flash attention and FlexAttention. The two causal shapes are those for which flash-hog, the other
fused double backward that is public, gives its times on an H200; there ours stands beside scaled dot-product attention alone, since
math attention would not fit the card. `forward_mode` is the value with its derivative along a tangent. Times are medians, as eager code meets them (`stream`)
and in a CUDA graph (`graph`); a stage is the difference of whole calls. The floor of a stage is the larger of its
operations over the measured rate of a bf16 product and its bytes over the measured rate of a copy. The same run
checks our results against float64 on two rows of the batch.

On a CPU it measures the reference, float32, one thread, against the same eager baselines: B128 H4 L49 D32, two
thirds visible. Prints one JSON object as its last line; `ratio` is the whole second-order call of eager math
attention over ours: on a card the least over the shapes against rows padded to the longest, on a CPU against all L
tokens. Appends to benchmarks/results/attention.csv.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import attention_sides as sides
from benchmarks.measure import append, ceilings, graph_ms, key, rounds_ms, stream_ms

RESULTS = Path(__file__).parent / "results" / "attention.csv"
SHAPES = {"a": (256, 8, 50, 32), "b": (128, 8, 257, 64), "c": (32, 16, 1025, 64), "cpu": (128, 4, 49, 32)}
CAUSAL = {"causal_1024": (256, 12, 1024, 64), "causal_512": (512, 12, 512, 64)}  # everything visible
PUBLISHED_MS = {"causal_1024": 27.16, "causal_512": 18.34}  # the double backward of flash-hog, JAX, on an H200
STAGES = ("forward", "backward", "double_backward")
FLOPS = (4, 10, 24)  # × pairs × D × H
ELEMENTS = (4, 8, 11)  # read or written, × M × H × D


def floors_ms(problem: sides.Problem, rates: tuple[float, float]) -> list[float]:
    """The least time of each stage on this card."""
    m, _, heads, dim = problem.qkv.shape
    size = problem.qkv.element_size()
    return [
        max(f * problem.pairs * dim * heads / rates[0], e * m * heads * dim * size / rates[1]) * 1e3
        for f, e in zip(FLOPS, ELEMENTS, strict=True)
    ]


def relative_error(problem: sides.Problem) -> float:
    """Largest relative error of our out, first and second derivatives against float64, on the first two rows."""
    part = problem.first_rows(2)
    count = part.packing.total
    found = sides.orders(sides.ours(problem), problem.qkv, problem.gradient, problem.cotangent)
    wide = (x.double() for x in (part.qkv, part.gradient, part.cotangent))
    wide = sides.orders(sides.ours(part, "reference"), *wide)
    worst = 0.0
    for order in (0, 1, 2):
        own, true = found[order](), wide[order]()
        for a, b in zip(*((x,) if isinstance(x, torch.Tensor) else x for x in (own, true)), strict=True):
            worst = max(worst, ((a[:count].double() - b).norm() / b.norm()).item())
    return worst


def peak_mb(call: Callable[[], object]) -> float:
    """Device memory that a call takes at most, on top of its inputs."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def in_graph_ms(call: Callable[[], object]) -> float:
    """`graph_ms`, NaN for a call that cannot be captured."""
    try:
        return graph_ms(call)
    except RuntimeError as failure:
        print(f"no graph: {failure}"[:160], flush=True)
        torch.cuda.synchronize()
        return float("nan")


def make_sides(problem: sides.Problem, names: list[str]) -> dict[str, dict[int, Callable]]:
    """Side → order → call. A side that the installed PyTorch lacks raises when it is built."""
    packed = problem.qkv, problem.gradient, problem.cotangent
    out = {}
    for name in names:
        longest = name in ("eager_padded", "compiled")
        layout = packed if name in ("ours", "varlen") else tuple(sides.padded(problem, x, longest) for x in packed)
        mask = sides.key_mask(problem, longest)
        math = lambda x, mask=mask: sides.math_attention(x, mask)  # noqa: E731
        if name == "compiled":
            out[name] = {2: sides.compiled_second(math, *layout)}
            continue
        make = {
            "ours": lambda: sides.ours(problem),
            "eager": lambda m=math: m,
            "eager_padded": lambda m=math: m,
            "sdpa": lambda mask=mask: sides.sdpa(None, True) if problem.causal else sides.sdpa(mask),
            "varlen": lambda: sides.varlen(problem),
            "flex": lambda: sides.flex(problem),
        }[name]
        calls = sides.orders(make(), *layout)
        out[name] = calls if name in ("ours", "eager", "eager_padded") else {k: calls[k] for k in (0, 1)}
    return out


def measure_card(shape: str, share: float, rates: tuple[float, float], names: list[str]) -> list[dict]:
    """Rows of results of some sides on the card. A side that cannot run gives a row that says why."""
    size = (SHAPES | CAUSAL)[shape]
    problem = sides.make_problem(*size, share, torch.bfloat16, "cuda", causal=shape in CAUSAL)
    floor = floors_ms(problem, rates)
    rows = forward_mode_rows(problem, shape, share, names)
    for name in names:
        try:
            calls = make_sides(problem, [name])[name]
            times = {k: (stream_ms(call), in_graph_ms(call)) for k, call in calls.items()}
            peak = peak_mb(calls[max(calls)])
        except Exception as failure:  # noqa: BLE001 one baseline that cannot run must not lose the others' figures
            rows.append({"shape": shape, "share": share, "side": name, "stage": "failed", "note": str(failure)[:120]})
            torch.cuda.empty_cache()
            continue
        for k, (stream, graph) in times.items():
            base = times.get(k - 1, (0.0, 0.0))
            whole = k == 2 and 1 not in times
            row = {"shape": shape, "share": share, "side": name, "stage": "all" if whole else STAGES[k]}
            row |= {"stream_ms": round(stream - base[0], 4), "graph_ms": round(graph - base[1], 4)}
            if not whole:
                row |= {"floor_ms": round(floor[k], 4), "percent": round(100 * floor[k] / (graph - base[1]), 1)}
            rows.append(row)
            if k == max(times) and not whole:
                row = {"shape": shape, "share": share, "side": name, "stage": f"all to order {k}"}
                rows.append(row | {"stream_ms": round(stream, 4), "graph_ms": round(graph, 4)})
            rows[-1]["peak_mb"] = round(peak, 1)
        if name == "ours":
            rows[-1]["error"] = f"{relative_error(problem):.1e}"
        del calls
        torch.cuda.empty_cache()
    return rows


def forward_mode_rows(problem: sides.Problem, shape: str, share: float, names: list[str]) -> list[dict]:
    """Rows of value and forward derivative together, of our side and of math attention on all L tokens."""
    calls = {"ours": lambda: sides.forward_mode(problem)}
    calls["eager"] = lambda: sides.math_forward_mode(problem, sides.key_mask(problem, False))
    rows = []
    for name in [n for n in calls if n in names]:
        row = {"shape": shape, "share": share, "side": name, "stage": "forward_mode"}
        try:
            call = calls[name]()
            rows.append(row | {"stream_ms": round(stream_ms(call), 4), "graph_ms": round(in_graph_ms(call), 4)})
        except Exception as failure:  # noqa: BLE001 as above
            rows.append(row | {"note": str(failure)[:120]})
        torch.cuda.empty_cache()
    return rows


def whole(rows: list[dict], shape: str, share: float, side: str, column: str = "graph_ms") -> float | None:
    """Time of the whole second-order call of a side, or None."""
    for r in rows:
        if (r["shape"], r["share"], r["side"]) == (shape, share, side) and r["stage"] in ("all", "all to order 2"):
            return r[column]
    return None


def run_card(options: argparse.Namespace) -> dict:
    """Measures on the card and appends to the results after each problem; the summary."""
    stamp = key(torch.device("cuda"))
    rates = ceilings()
    stamp |= {"product_tflops": f"{rates[0] / 1e12:.0f}", "copy_tb_s": f"{rates[1] / 1e12:.2f}"}
    columns = ("shape", "share", "side", "stage", "stream_ms", "graph_ms", "floor_ms", "percent", "peak_mb")
    columns += ("error", "note")
    problems = [(s, share) for share in options.shares for s in options.shapes if s not in CAUSAL or share == 1.0]
    plan = [(*p, ["ours", "sdpa"] + ["eager", "eager_padded", "varlen"] * (p[0] not in CAUSAL)) for p in problems]
    more = [p for p in problems if p[0] not in CAUSAL and (not options.quick or p[1] == 0.5)]
    plan += [(*p, ["compiled"] + ["flex"] * (p[0] == "b")) for p in more]
    rows: list[dict] = []
    for shape, share, names in plan:  # what compiles for long comes last
        found = measure_card(shape, share, rates, names)
        append(options.out, [dict.fromkeys(columns, "") | r | stamp for r in found])
        rows += found
        for r in found:
            print("  ".join(f"{k}={v}" for k, v in r.items()), flush=True)
    ratios = {}
    for shape, share in problems:
        own = whole(rows, shape, share, "ours")
        for side in ("eager", "eager_padded", "compiled"):
            other = whole(rows, shape, share, side)
            if own and other and own == own and other == other:
                ratios[f"ratio_{side}_{shape}_{share}"] = round(other / own, 2)
    for shape, bar in PUBLISHED_MS.items():
        own = whole(rows, shape, 1.0, "ours")
        if own:
            ratios |= {f"ms_{shape}": own, f"ratio_published_{shape}": round(bar / own, 2)}
    fair = [v for k, v in ratios.items() if k.startswith("ratio_eager_padded")]
    return {"ratio": min(fair) if fair else None} | ratios | stamp


def run_cpu(options: argparse.Namespace) -> dict:
    """Measures the reference on one CPU thread; the summary."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    stamp = key() | {"threads": "1"}
    batch = 8 if options.quick else SHAPES["cpu"][0]
    problem = sides.make_problem(batch, *SHAPES["cpu"][1:], 2 / 3, torch.float32, "cpu")
    error = relative_error(problem)
    made = make_sides(problem, ["ours", "eager", "eager_padded"])
    best = rounds_ms({name: calls[2] for name, calls in made.items()}, 2 if options.quick else 30)
    rows = [
        {"batch": batch, "side": name, "stage": "all to order 2", "ms": f"{ms:.2f}", "error": f"{error:.1e}"} | stamp
        for name, ms in best.items()
    ]
    append(options.out, rows)
    out = {f"{name}_ms": round(ms, 2) for name, ms in best.items()}
    ratios = {f"ratio_{n}": round(best[n] / best["ours"], 2) for n in ("eager", "eager_padded")}
    return {"ratio": ratios["ratio_eager"]} | ratios | out | {"error": error} | stamp


def main() -> None:
    """Measures, appends to the results, prints the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=("a", "b", "c", *CAUSAL), default=["a", "b", "c"])
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.5, 0.25], help="visible share of tokens")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; the compiled baseline at half visible only")
    parser.add_argument("--out", type=Path, default=None, help="CSV to append to")
    options = parser.parse_args()
    on_card = torch.cuda.is_available()
    if options.out is None:
        options.out = RESULTS if on_card else RESULTS.with_name("attention_cpu.csv")
    print(json.dumps({"benchmark": "attention"} | (run_card(options) if on_card else run_cpu(options))))


if __name__ == "__main__":
    main()
