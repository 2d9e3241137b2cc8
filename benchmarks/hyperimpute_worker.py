"""Fills a table with HyperImpute, in an environment of its own: it needs pandas < 3, the project pandas 3.

    <python of that environment> hyperimpute_worker.py gaps.csv filled.csv <seed>

Nothing of the project is imported. The last line is JSON: versions, and the CPU seconds of the filling.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib.metadata import version


def main() -> None:
    """Reads a CSV of numbers with empty cells, writes it filled."""
    warnings.simplefilter("ignore")
    import pandas as pd
    from hyperimpute.plugins.imputers import Imputers

    source, target, seed = sys.argv[1:]
    gaps = pd.read_csv(source)
    started = time.process_time()
    filled = Imputers().get("hyperimpute", random_state=int(seed)).fit_transform(gaps.copy())
    used = time.process_time() - started
    filled = pd.DataFrame(filled.to_numpy(), columns=gaps.columns).where(gaps.isna(), gaps)
    filled.to_csv(target, index=False)
    print(json.dumps({n: version(n) for n in ("hyperimpute", "pandas", "scikit-learn", "torch")} | {"cpu_s": used}))


if __name__ == "__main__":
    main()
