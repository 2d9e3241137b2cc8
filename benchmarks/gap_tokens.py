"""Gaps as tokens: are the gaps of drawn rows those of the table, and do the tokens help to fill cells missing not at random?

    DATA_MIRROR=… python -m benchmarks.gap_tokens --shares          # a table set by hand
    DATA_MIRROR=… python -m benchmarks.gap_tokens --seeds 2         # yacht and concrete, MAR and MNAR, with and without

By hand: 1,500 rows; group a (40 %) misses y in 60 % of its rows, the others in 10 %; z is missing in 50 % of the rows that
miss y, in 15 % of the others; y and z are normal, y depends on the group, z on y. 10,000 rows are drawn; z-scores count the
sampling errors of the table and of the draw.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd

from benchmarks.imputation_data import make_case
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.evaluation.gap_scores import score

TABLES, MECHANISMS = ("yacht", "concrete"), ("mar", "mnar")
SHOWN = ("energy_score", "w1", "rmse")
MODELS = ("network", "forest", "auto")


def by_hand(n: int, seed: int) -> pd.DataFrame:
    """A table whose gaps depend on a column and on one another."""
    rng = np.random.default_rng(seed)
    group = rng.random(n) < 0.4
    y = rng.normal(size=n) + group
    frame = pd.DataFrame({"group": np.where(group, "a", "b"), "y": y, "z": 0.8 * y + 0.6 * rng.normal(size=n)})
    lost_y = rng.random(n) < np.where(group, 0.6, 0.1)
    frame.loc[lost_y, "y"] = np.nan
    frame.loc[rng.random(n) < np.where(lost_y, 0.5, 0.15), "z"] = np.nan
    return frame


def shares(frame: pd.DataFrame) -> dict[str, tuple[float, int]]:
    """Name → (share of gaps, among how many rows)."""
    a, lost = frame["group"] == "a", frame["y"].isna()
    parts = {
        "y": frame["y"], "y in a": frame["y"][a], "y in b": frame["y"][~a], "z": frame["z"],
        "z where y is missing": frame["z"][lost], "z where y is known": frame["z"][~lost],
    }  # fmt: skip
    return {name: (float(part.isna().mean()), len(part)) for name, part in parts.items()}


def tell_shares(rows: int, seed: int) -> None:
    """Prints the shares of gaps in a table and in rows drawn from each model."""
    table = by_hand(rows, seed)
    wanted = shares(table)
    print("table:", {k: round(v, 3) for k, (v, _) in wanted.items()}, flush=True)
    for model in MODELS:
        imputer = BigLearnImputer(model=model, gaps=True, progress=False, random_state=seed).fit(table)
        drawn = shares(imputer.generate(10_000, missing="as in the data"))
        told = {}
        for name, (share, n) in drawn.items():
            true, m = wanted[name]
            told[name] = f"{share:.3f} ({(share - true) / np.sqrt(true * (1 - true) * (1 / n + 1 / m)):+.1f})"
        print(f"{model}:", told, flush=True)


def tell_filling(tables: list[str], seeds: int, preset: str) -> None:
    """Prints scores of filled held-out cells without and with gap tokens, and their mean ratio."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for seed in range(seeds):
        for name in tables:
            for mechanism in MECHANISMS:
                case = make_case(name, mechanism, seed, 5000)
                found = {}
                for gaps in (False, True):
                    started = time.process_time()
                    imputer = BigLearnImputer(gaps=gaps, preset=preset, progress=False, random_state=seed)
                    imputer.fit(case.seen("train"))
                    gapped = case.seen("test")
                    found[gaps] = score(case, imputer.transform(gapped), imputer.sample(gapped, 10))
                    told = ", ".join(f"{k} {found[gaps][k]:.3f}" for k in SHOWN)
                    print(
                        f"{name} {mechanism} seed {seed} gaps={gaps}: {told}, {time.process_time() - started:.0f} CPU s",
                        flush=True,
                    )
                for k in SHOWN:
                    ratios.setdefault((f"{name} {mechanism}", k), []).append(found[True][k] / found[False][k])
    print(pd.Series({k: np.mean(v) for k, v in ratios.items()}).unstack().round(3).to_string())


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", action="store_true")
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.shares:
        tell_shares(args.rows, 0)
    else:
        tell_filling(args.tables, args.seeds, args.preset)


if __name__ == "__main__":
    main()
