"""Stage prepare: rows, schema and split → data/tokens. Run: python -m pipeline.prepare"""

from __future__ import annotations

import numpy as np

from pipeline.datasets import RawData, get_source
from pipeline.files import replaced_folder, sha256, write_array, write_json, write_text
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.schema import Schema
from pipeline.stage import run_stage


def run(params: Params, where: Paths) -> None:
    """Writes data/tokens/{schema.json, train.npy, test.npy, summary.json}, all or nothing."""
    data = get_source(params.dataset.name).load(where.raw, params)
    train, test = split(data, params)
    for name, rows in (("train", train), ("test", test)):
        if len(rows) < 2:
            raise ValueError(f"the {name} split must have at least 2 rows. Got {len(rows)}.")
        data.schema.check_rows(rows)
    with replaced_folder(where.tokens) as fresh:
        write_text(fresh / "schema.json", data.schema.to_json())
        write_array(fresh / "train.npy", train)
        write_array(fresh / "test.npy", test)
        write_json(
            fresh / "summary.json",
            {
                "dataset": params.dataset.name,
                "train_rows": len(train),
                "test_rows": len(test),
                "columns": len(data.schema.columns),
                "tokens": data.schema.n_tokens,
                "features": data.schema.n_features,
                "missing_share": round(float(np.isnan(train).mean()) if train.dtype.kind == "f" else 0.0, 6),
                "schema_sha256": sha256(fresh / "schema.json"),
                "train_sha256": sha256(fresh / "train.npy"),
                "test_sha256": sha256(fresh / "test.npy"),
                **_class_counts(data.schema, train),
            },
        )
    print(f"prepare: {len(train)} training and {len(test)} test rows, {data.schema.n_tokens} tokens each")


def split(data: RawData, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """(train, test) rows: the source's own split, else a seeded one, stratified by label. Train comes shuffled.

    Raises ValueError for an empty dataset.
    """
    if len(data.train) == 0:
        raise ValueError("the dataset must have rows. Got 0.")
    rng = np.random.Generator(np.random.Philox(key=[params.seed, 0x5B117]))
    order = rng.permutation(len(data.train))
    train, test = data.train[order], data.test
    if test is None:
        held_out = _held_out(data.schema, train, params.prepare.test_share)
        train, test = train[~held_out], train[held_out]
    if params.prepare.limit_rows:
        train = train[: params.prepare.limit_rows]
    return _compact(train), _compact(test)


def _held_out(schema: Schema, rows: np.ndarray, share: float) -> np.ndarray:
    """(N,) bool: the first `share` of the shuffled rows of each class (of all rows where there is no label)."""
    labels = schema.labels(rows) if schema.label else np.zeros(len(rows), np.int64)
    out = np.zeros(len(rows), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        out[members[: round(share * len(members))]] = True
    return out


def _compact(rows: np.ndarray) -> np.ndarray:
    """uint8 when that loses nothing, else float32."""
    if rows.dtype == np.uint8:
        return rows
    small = np.isfinite(rows).all() and (rows == np.floor(rows)).all() and rows.min() >= 0 and rows.max() <= 255
    return rows.astype(np.uint8 if small else np.float32)


def _class_counts(schema: Schema, rows: np.ndarray) -> dict[str, int]:
    if not schema.label:
        return {}
    names = schema.categories[schema.label]
    counts = np.bincount(schema.labels(rows).clip(min=0), minlength=len(names))
    return {f"class_{name}": int(c) for name, c in zip(names, counts, strict=True)}


def main() -> None:
    """Entry point of the stage."""
    run_stage("prepare", run)


if __name__ == "__main__":
    main()
