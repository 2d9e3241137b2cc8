"""Rows under rules and rare conditions: how many break them, and the CPU time beside free rows.

    python -m benchmarks.rules_cost --rows 100000

A made table of orders: start <= end (dates), net + tax == total (whole numbers), (city, country) seen. Training rows keep
all three; a model without rules breaks them now and then.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from pipeline.asking.rules import Rules
from pipeline.asking.units import Units
from pipeline.estimators.imputer import BigLearnImputer

RULES = ["start <= end", "net + tax == total", "(city, country) seen"]
CITIES = {"Bern": "CH", "Basel": "CH", "Lima": "PE", "Cusco": "PE", "Oslo": "NO", "Bergen": "NO", "Rome": "IT"}


def orders(n: int, seed: int = 0) -> pd.DataFrame:
    """A table of n orders."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, n), unit="D")
    net = np.round(rng.lognormal(5, 1, n)).astype(int)
    city = rng.choice(list(CITIES), n)
    tax = np.round(net * np.where(np.isin(city, ["Bern", "Basel"]), 0.08, 0.2)).astype(int)
    end = start + pd.to_timedelta(rng.geometric(0.1, n), unit="D")
    columns = {"start": start, "end": end, "net": net, "tax": tax, "total": net + tax}
    return pd.DataFrame(columns | {"city": city, "country": [CITIES[c] for c in city]})


def main() -> None:
    """Prints broken rows and CPU seconds, free and under rules, and the cost of a condition of mass about .001."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    imputer = BigLearnImputer(steps=args.steps, rules=RULES, progress=False).fit(orders(5000))
    units = Units(imputer.codec_)
    rules = Rules.read(RULES, units, {k: np.array(v) for k, v in imputer.seen_.items()})
    for name in ("under rules", "free"):
        start = time.process_time()
        imputer.set_params(rules=RULES if name == "under rules" else None)
        found = imputer.generate(args.rows)
        seconds = time.process_time() - start
        rows = imputer.codec_.rows(found)
        broken = {text: int(bad.sum()) for text, bad in rules.broken(units.exact(found), rows).items()}
        plain = {
            "start > end": int((found["start"] > found["end"]).sum()),
            "net + tax != total": int((found["net"] + found["tax"] != found["total"]).sum()),
            "city elsewhere": int((found["city"].map(CITIES) != found["country"]).sum()),
        }
        print(f"{name}: {len(found)} rows, {seconds:.1f} CPU s, broken {broken}, counted by pandas {plain}", flush=True)
    imputer.set_params(rules=None)
    bound = int(orders(200_000, seed=1)["net"].quantile(0.999))
    start = time.process_time()
    found = imputer.generate(1000, where=f"net > {bound}")
    seconds = time.process_time() - start
    print(
        f"net > {bound}: mass {found.attrs['mass']:.5f}, 1,000 rows in {seconds:.1f} CPU s, least {found['net'].min()}"
    )


if __name__ == "__main__":
    main()
