"""A made credit table as banks export it: identifiers, coded categories, amounts, dates, and marks for missing that no
format knows, each after a public table of the kind (UCI default of credit card clients, UCI German credit, Home Credit)."""

from __future__ import annotations

import numpy as np
import pandas as pd


def credit(rows: int = 2000, seed: int = 0) -> pd.DataFrame:
    """`rows` loans."""
    rng = np.random.default_rng(seed)

    def some(values: object, share: float, mark: object) -> np.ndarray:
        return np.where(rng.random(rows) < share, mark, values)

    grade = rng.normal(size=rows)
    age = np.clip(rng.normal(38, 11, rows), 21, 79).astype(int)
    opened = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 1400, rows), unit="D")
    limit = np.round(np.exp(11.5 + 0.5 * grade + 0.3 * rng.normal(size=rows)) / 10000).clip(1) * 10000
    late = {
        f"pay_{i}": rng.choice([-2, -1, 0, 1, 2, 3, 8], rows, p=[0.1, 0.2, 0.5, 0.1, 0.06, 0.03, 0.01])
        for i in (1, 2, 3)
    }
    bills = {f"bill_amt{i}": np.round(limit * rng.beta(1, 3, rows) - 500 * (rng.random(rows) < 0.1)) for i in (1, 2)}
    return pd.DataFrame(
        {
            "SK_ID_CURR": 100002 + np.arange(rows),
            "contract": [f"{rng.integers(10**7):07d}-{i % 97:02d}" for i in range(rows)],
            "checking_status": rng.choice(["A11", "A12", "A13", "A14"], rows, p=[0.27, 0.27, 0.06, 0.4]),
            "duration_months": rng.choice([6, 9, 12, 15, 18, 24, 30, 36, 48, 60], rows),
            "limit_bal": limit.astype(int),
            "sex": rng.choice([1, 2], rows, p=[0.4, 0.6]),
            "education": rng.choice([0, 1, 2, 3, 4, 5, 6], rows, p=[0.01, 0.35, 0.46, 0.15, 0.01, 0.01, 0.01]),
            "marriage": rng.choice([0, 1, 2, 3], rows, p=[0.02, 0.45, 0.51, 0.02]),
            "age": age,
            "days_employed": some(-rng.integers(30, 12000, rows), 0.18, 365243),
            "income_year": some(np.round(np.exp(10.5 + 0.4 * grade)), 0.12, 0).astype(int),
            "bureau_score": some((600 + 60 * grade).astype(int), 0.15, -999),
            "debt_to_income": some(np.round(rng.beta(2, 5, rows), 4), 0.1, 9.9999),
            "months_since_default": some(rng.integers(1, 84, rows), 0.55, -1),
            "org_type": rng.choice(["Business Entity Type 3", "XNA", "Self-employed", "Other", "Medicine"], rows),
            "opened": opened.strftime("%Y-%m-%d"),
            "first_due": some(opened + pd.Timedelta(days=30), 0.05, pd.Timestamp("1900-01-01")).astype(
                "datetime64[ns]"
            ),
            "postcode": rng.choice([f"{v:05d}" for v in rng.integers(501, 99950, 200)], rows),
            **late,
            **bills,
            "purpose": rng.choice(["car (new)", "furniture", "radio/tv", "education", None], rows),
            "interest_pct": [f"{v:.2f}%" for v in rng.gamma(4, 2.5, rows)],
            "defaulted": (rng.random(rows) < 1 / (1 + np.exp(1.5 + grade))).astype(int),
        }
    )
