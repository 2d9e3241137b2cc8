"""Draws several fillings of a table with a peer, in an environment of its own: they do not run on today's packages.

    <python of that environment> peers_worker.py miceforest|utrees gaps.csv kinds.json drawn.npz <draws> <seed>

That environment, pinned: Python 3.11, numpy 1.26, pandas 2.2, scikit-learn 1.6.1, lightgbm 4.3, miceforest 6.0.5,
utrees 0.3.0. kinds.json: column position → "cat" or "int"; other columns are numbers. Nothing of the project is imported.
The last line is JSON: versions, and the CPU seconds of the filling.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib.metadata import version


def miceforest(gaps, kinds, draws, seed):
    """(draws, N, C) float64: chained equations with LightGBM and mean matching, 5 iterations, its defaults."""
    import miceforest as package
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(gaps, columns=[f"c{j}" for j in range(gaps.shape[1])])
    for j, kind in kinds.items():
        if kind == "cat":
            frame[f"c{j}"] = frame[f"c{j}"].astype("Int64").astype("category")
    kernel = package.ImputationKernel(frame, num_datasets=draws, random_state=seed)
    kernel.mice(5)
    return np.stack([np.asarray(kernel.complete_data(dataset=i).astype(float)) for i in range(draws)])


def utrees(gaps, kinds, draws, seed):
    """(draws, N, C) float64: UnmaskingTrees, its defaults."""
    import numpy as np
    from utrees import UnmaskingTrees

    names = {"cat": "categorical", "int": "integer"}
    columns = [names.get(kinds.get(j), "continuous") for j in range(gaps.shape[1])]
    model = UnmaskingTrees(random_state=seed)
    model.fit(gaps, quantize_cols=columns)
    return np.asarray(model.impute(n_impute=draws, X=gaps))


def cpu_seconds():
    """CPU seconds of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Reads a CSV of numbers with empty cells, writes its fillings as one array `drawn`."""
    warnings.simplefilter("ignore")
    import numpy as np
    import pandas as pd

    name, source, kinds, target, draws, seed = sys.argv[1:]
    gaps = pd.read_csv(source).to_numpy(float)
    with open(kinds, encoding="utf8") as stream:
        known = {int(k): v for k, v in json.load(stream).items()}
    np.random.seed(int(seed))
    started = cpu_seconds()
    drawn = {"miceforest": miceforest, "utrees": utrees}[name](gaps, known, int(draws), int(seed))
    used = cpu_seconds() - started
    np.savez(target, drawn=drawn)
    names = ("numpy", "pandas", "scikit-learn", "lightgbm", name)
    print(json.dumps({n: version(n) for n in names} | {"cpu_s": round(used, 2)}))


if __name__ == "__main__":
    main()
