"""The tables of docs/results/tables.md from rows of benchmarks/imputation.py; computes nothing anew.

    python -m benchmarks.imputation_table [--mechanisms mcar mar mnar] [--results FILE]

Per mechanism a table: ours beside the best of the others, RMSE of the mean of ten draws divided by the best RMSE, how many
times longer missforest takes to fit than ours to fill; then how many tables meet which mark. The last row of each job counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.imputation import IN_SAMPLE, MECHANISMS, RESULTS, recorded
from benchmarks.imputation_data import TABLES

OURS = "biglearn"
SHORT = {
    "missforest": "MF", "boosting": "B", "iterative": "I", "iterative_draw": "ID", "knn": "NN", "mean": "M",
}  # fmt: skip
Cases = dict[str, dict[str, dict[str, str]]]  # table → method → row


def cases_of(results: Path, mechanism: str, seed: int) -> Cases:
    """The rows of one mechanism by table and method, where ours and another are there, in the order of TABLES."""
    found: Cases = {table: {} for table in TABLES}
    for row in recorded(results):
        if row["mechanism"] == mechanism and int(row["seed"]) == seed and row["method"] in (OURS, *SHORT):
            found[row["table"]][row["method"]] = row
    return {t: rows for t, rows in found.items() if OURS in rows and len(rows) > 1}


def best_other(rows: dict[str, dict[str, str]], score: str, largest: bool = False) -> tuple[float, str]:
    """(value, method) of the best of the others."""
    values = [(float(r[score]), m) for m, r in rows.items() if m != OURS and r.get(score)]
    return (max if largest else min)(values)


def beside(rows: dict[str, dict[str, str]], score: str, largest: bool = False) -> str:
    """Ours / the best other with its name; the better one bold."""
    own, (other, method) = float(rows[OURS][score]), best_other(rows, score, largest)
    ours, theirs = (f"{v:.3f}".lstrip("0") for v in (own, other))
    first = own >= other if largest else own <= other
    return f"**{ours}** / {theirs} {SHORT[method]}" if first else f"{ours} / **{theirs}** {SHORT[method]}"


def times_best(rows: dict[str, dict[str, str]]) -> float:
    """RMSE of ours over the best of all."""
    own = float(rows[OURS]["rmse"])
    return own / min(own, best_other(rows, "rmse")[0])


def rank(rows: dict[str, dict[str, str]], score: str) -> int:
    """Place of ours, 1: best."""
    return 1 + sum(float(r[score]) < float(rows[OURS][score]) for r in rows.values() if r.get(score))


def lines(cases: Cases) -> list[str]:
    """The table in Markdown and the marks below it."""
    out = [
        "| table | W1 | energy score | RMSE (÷ best) | RMSE of `transform` | accuracy | coverage (.82) | fit, s | MF fit ÷ our `transform` |",
        "| --- " * 9 + "|",
    ]
    for table, rows in cases.items():
        own = rows[OURS]
        accuracy = beside(rows, "accuracy", largest=True) if own.get("accuracy") else "–"
        speed = float(rows["missforest"]["fit_s"]) / float(own["best_s"]) if "missforest" in rows else None
        out.append(
            f"| {table} | {beside(rows, 'w1')} | {beside(rows, 'energy_score')} | {beside(rows, 'rmse')} ({times_best(rows):.2f}) "
            f"| {float(own['rmse_best']):.3f} | {accuracy} | {float(own['coverage']):.2f} | {float(own['fit_s']):.0f} "
            f"| {'–' if speed is None else round(speed)} |"
        )
    n = len(cases)
    told = [r for r in cases.values() if r[OURS].get("accuracy")]
    marks = {
        "W1 first": sum(rank(r, "w1") == 1 for r in cases.values()),
        "W1 first or second": sum(rank(r, "w1") <= 2 for r in cases.values()),
        "energy score first": sum(rank(r, "energy_score") == 1 for r in cases.values()),
        "RMSE within 5 %": sum(times_best(r) <= 1.05 for r in cases.values()),
        "RMSE within 10 %": sum(times_best(r) <= 1.10 for r in cases.values()),
        "coverage at least .72": sum(float(r[OURS]["coverage"]) >= 0.72 for r in cases.values()),
    }
    out += [f"{name}: {count} of {n}" for name, count in marks.items()]
    first = sum(float(r[OURS]["accuracy"]) >= best_other(r, "accuracy", largest=True)[0] for r in told)
    return [*out, f"accuracy first: {first} of {len(told)}"]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    held_out = [m for m in MECHANISMS if m not in IN_SAMPLE]
    parser.add_argument("--mechanisms", nargs="+", default=held_out, choices=list(MECHANISMS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for mechanism in options.mechanisms:
        cases = cases_of(options.results, mechanism, options.seed)
        if cases:
            print(f"\n{mechanism}\n")
            print("\n".join(lines(cases)))


if __name__ == "__main__":
    main()
