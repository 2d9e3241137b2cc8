"""Fill the gaps of a survey many times, and pool an estimate over the filled tables by Rubin's rules.

    python survey_estimate.py

The question is the mean income. The survey is made up: income rises with schooling, and the higher the schooling, the
more often the answer about income is missing. So the rows without gaps are no fair sample, and one filled table,
taken for the truth, claims more than it knows. Several tables, each a draw of all gaps together, give estimate and error.
`biglearn.pool` does the same for any estimate; here the rules are written out.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from biglearn import BigLearnImputer


def survey(rows: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(the survey as it was answered, with gaps; the truth), (rows, 4) each."""
    rng = np.random.default_rng(seed)
    region = rng.choice(["north", "south", "coast"], rows, p=[0.5, 0.3, 0.2])
    school = np.clip(rng.normal(12, 3, rows) + (region == "coast"), 6, 20).round()
    age = rng.integers(20, 65, rows)
    income = 10 + 2 * school + 0.2 * age + 4 * (region == "north") + rng.normal(0, 5, rows)
    truth = pd.DataFrame({"region": region, "age": age, "school": school, "income": income.round(1)})
    answered = truth.copy()
    answered.loc[rng.random(rows) < 1 / (1 + np.exp(2 - 0.25 * (school - 10))), "income"] = np.nan
    answered.loc[rng.random(rows) < 0.1, "region"] = None
    return answered, truth


def mean_income(table: pd.DataFrame) -> tuple[float, float]:
    """(estimate, its variance) from one table without gaps."""
    return table["income"].mean(), table["income"].var() / len(table)


def pool(estimates: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
    """(estimate, standard error) over K filled tables (Rubin 1987): within and between variance add up.

    T = W + (1 + 1/K) B, where W is the mean of the variances and B the variance of the estimates.
    """
    between = estimates.var(ddof=1)
    return estimates.mean(), np.sqrt(variances.mean() + (1 + 1 / len(estimates)) * between)


def main(
    rows: int = 1000, draws: int = 20, model: str = "auto", steps: int | None = None, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """method → (estimate, standard error), printed beside the truth."""
    answered, truth = survey(rows, seed)
    imputer = BigLearnImputer(model=model, steps=steps, random_state=seed).fit(answered)
    filled = imputer.sample(answered, draws=draws)
    estimates, variances = np.array([mean_income(table) for table in filled]).T
    found = {
        "no gaps (the truth)": mean_income(truth),
        "complete rows alone": mean_income(answered.dropna()),
        "one table of best guesses": mean_income(imputer.transform(answered)),
    }
    found = {name: (estimate, np.sqrt(variance)) for name, (estimate, variance) in found.items()}
    found[f"{draws} draws, pooled"] = pool(estimates, variances)
    gaps = answered["income"].isna().mean()
    print(f"{rows} rows, {gaps:.0%} without income; mean income in thousands:")
    for name, (estimate, error) in found.items():
        print(f"  {name:<26} {estimate:5.2f} ± {error:.2f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="auto", help="auto, network or forest; auto if not given")
    parser.add_argument("--steps", type=int, help="of the network, at most; by the number of rows if not given")
    for name, value in (("rows", 1000), ("draws", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{value} if not given")
    main(**vars(parser.parse_args()))
