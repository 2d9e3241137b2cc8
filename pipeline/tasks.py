"""Stage tasks: the task distribution q(S, T) as banks of packed roles, with diagnostics → data/tasks.

Run: python -m pipeline.tasks

Reads data/tokens/schema.json. Writes data/tasks/{train,evaluation}/ and spec.json, pictures and
tables under data/plots/tasks/, and data/metrics/tasks.json.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kernels.task_sampling import FAMILIES, HIDDEN, SOURCE, TARGET, TaskBank, Tasks, write_bank
from pipeline.base.files import replaced_folder, write_json, write_text
from pipeline.base.params import Params
from pipeline.base.paths import Paths
from pipeline.base.stage import run_stage
from pipeline.base.streams import progress
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema

TRAIN_STREAM, EVALUATION_STREAM = 0, 1
SHARE_BINS = 20  # of the histograms of |S|/L and |T|/L, at most
DIAGNOSED_ROWS = 1 << 17  # of the training bank, at most


def run(params: Params, where: Paths) -> dict[str, float]:
    """Writes the banks, the diagnostics and the metrics; returns the metrics. Each folder is all or nothing."""
    schema = Schema.load(where.tokens / "schema.json")
    spec = spec_from_schema(params.tasks, schema)
    with replaced_folder(where.tasks) as fresh:
        for name, rows, stream in (
            ("train", params.tasks.train_rows, TRAIN_STREAM),
            ("evaluation", params.tasks.evaluation_rows, EVALUATION_STREAM),
        ):
            with progress(total=rows, desc=f"tasks: {name}", unit="row", unit_scale=True) as bar:
                write_bank(fresh / name, spec, rows, params.seed, stream, progress=bar.update)
        write_text(fresh / "spec.json", spec.to_json() + "\n")
    bank = TaskBank.open(where.tasks / "train")
    counts = Counts(bank)
    with replaced_folder(where.plots / "tasks") as fresh:
        write_tables(fresh, counts, schema)
        write_pictures(fresh, counts, bank, schema)
    metrics = counts.metrics() | {"train_rows": len(bank), "evaluation_rows": params.tasks.evaluation_rows}
    write_json(where.metrics / "tasks.json", metrics)
    print(f"tasks: {len(bank)} training tasks of {spec.n_tokens} tokens, families {', '.join(counts.families)}")
    return metrics


class Counts:
    """What the diagnostics show, counted over the first DIAGNOSED_ROWS rows of a bank.

    families: names present. share: family → number of rows. size: (role, family) → (L + 1,) rows with
    that many tokens of the role. visibility: (3, L) rows in which a token is hidden, source, target.
    """

    def __init__(self, bank: TaskBank, chunk_bytes: int = 1 << 24) -> None:
        n_tokens = bank.spec.n_tokens
        self.rows = min(len(bank), DIAGNOSED_ROWS)
        self.share = {name: 0 for name, p in zip(FAMILIES, bank.spec.probabilities, strict=True) if p > 0}
        self.families = list(self.share)
        self.size = {(r, f): np.zeros(n_tokens + 1, np.int64) for r in (SOURCE, TARGET) for f in self.families}
        self.visibility = np.zeros((3, n_tokens), np.int64)
        chunk = max(1, chunk_bytes // n_tokens)
        for start in range(0, self.rows, chunk):
            self._add(bank.tasks(slice(start, min(self.rows, start + chunk))))

    def _add(self, tasks: Tasks) -> None:
        for role in (HIDDEN, SOURCE, TARGET):
            self.visibility[role] += (tasks.role == role).sum(0)
        for name in self.families:
            chosen = tasks.role[tasks.family == FAMILIES.index(name)]
            self.share[name] += len(chosen)
            for role in (SOURCE, TARGET):
                self.size[role, name] += np.bincount((chosen == role).sum(1), minlength=chosen.shape[1] + 1)

    def histogram(self, role: int, family: str) -> tuple[np.ndarray, np.ndarray]:
        """(b,) bin centres in |role|/L and (b,) shares of the family's rows. Every bin spans as many counts."""
        sizes = self.size[role, family]
        first = np.arange(0, len(sizes), -(-len(sizes) // SHARE_BINS))
        centre = (first + np.append(first[1:], len(sizes)) - 1) / 2 / (len(sizes) - 1)
        return centre, np.add.reduceat(sizes, first) / max(1, sizes.sum())

    def mean_share(self, role: int) -> float:
        """Mean of |role|/L over all rows."""
        return float(self.visibility[role].mean() / self.rows)

    def metrics(self) -> dict[str, float]:
        """Flat numbers, the same on every machine."""
        names = {f"share_{name}": round(n / self.rows, 6) for name, n in self.share.items()}
        return {
            "mean_source_share": round(self.mean_share(SOURCE), 6),
            "mean_target_share": round(self.mean_share(TARGET), 6),
            "mean_hidden_share": round(self.mean_share(HIDDEN), 6),
            "least_token_target_share": round(float(self.visibility[TARGET].min() / self.rows), 6),
            "least_token_source_share": round(float(self.visibility[SOURCE].min() / self.rows), 6),
        } | names


def write_tables(folder: Path, counts: Counts, schema: Schema) -> None:
    """CSV series: histograms of |S|/L and |T|/L per family, visibility per token, rows per family."""
    for role, name in ((SOURCE, "source_share"), (TARGET, "target_share")):
        lines = [f"family,{name},row_share"]
        for family in counts.families:
            for centre, value in zip(*counts.histogram(role, family), strict=True):
                lines.append(f"{family},{centre:.4f},{value:.6f}")
        write_text(folder / f"{name}.csv", "\n".join(lines) + "\n")
    lines = ["token,source_share,target_share,hidden_share"]
    for i, token in enumerate(schema.tokens):
        hidden, source, target = counts.visibility[:, i] / counts.rows
        lines.append(f"{_csv(token.name)},{source:.6f},{target:.6f},{hidden:.6f}")
    write_text(folder / "visibility.csv", "\n".join(lines) + "\n")
    lines = ["family,row_share"] + [f"{f},{n / counts.rows:.6f}" for f, n in counts.share.items()]
    write_text(folder / "families.csv", "\n".join(lines) + "\n")


def _csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def write_pictures(folder: Path, counts: Counts, bank: TaskBank, schema: Schema) -> None:
    """PNG pictures: example tasks per family, histograms of the shares, visibility per token."""
    # Imported here: training reads spec_from_schema on hosts that have no matplotlib.
    from pipeline.reporting.task_pictures import examples_picture, shares_picture, visibility_picture

    chosen = {}
    family = np.asarray(bank.families[: counts.rows])
    for name in counts.families:
        rows = np.flatnonzero(family == FAMILIES.index(name))[:12]
        if len(rows):
            chosen[name] = bank.tasks(rows)
    examples_picture(folder / "examples.png", chosen, schema)
    histograms = {(r, f): counts.histogram(r, f)[1] for r in (SOURCE, TARGET) for f in counts.families}
    shares_picture(folder / "shares.png", histograms)
    visibility_picture(folder / "visibility.png", counts.visibility / counts.rows, schema)


def main() -> None:
    """Entry point of the stage."""
    run_stage("tasks", run)


if __name__ == "__main__":
    main()
