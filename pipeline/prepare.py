"""Stage prepare: rows, schema and split → data/tokens. Run: python -m pipeline.prepare"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.base.files import replaced_folder, sha256, write_json, write_rows, write_text
from pipeline.base.params import Params
from pipeline.base.paths import Paths
from pipeline.base.stage import run_stage
from pipeline.datasets import RawData, get_source
from pipeline.rows.permutation import IN_MEMORY_ROWS, walked
from pipeline.rows.row_file import Rows, chunk_rows, chunks
from pipeline.rows.schema import Schema

FEWEST_ROWS = 2  # of a split


def run(params: Params, where: Paths) -> None:
    """Writes data/tokens/{schema.json, train.npy, test.npy, summary.json}, all or nothing; rows go there in chunks."""
    data = get_source(params.dataset.name).load(where.raw, params)
    parts = dict(zip(("train", "test"), split(data, params), strict=True))
    facts = {}
    for name, part in parts.items():
        if len(part) < FEWEST_ROWS:
            raise ValueError(f"the {name} split must have at least {FEWEST_ROWS} rows or images. Got {len(part)}.")
        facts[name] = _checked(data.schema, part)
    with replaced_folder(where.tokens) as fresh:
        write_text(fresh / "schema.json", data.schema.to_json())
        for name, part in parts.items():
            shape = (len(part), len(data.schema.columns))
            write_rows(fresh / f"{name}.npy", shape, facts[name].dtype, part.chunks())
        write_json(
            fresh / "summary.json",
            {
                "dataset": params.dataset.name,
                "train_rows": len(parts["train"]),
                "test_rows": len(parts["test"]),
                "columns": len(data.schema.columns),
                "tokens": data.schema.n_tokens,
                "features": data.schema.n_features,
                "missing_share": round(facts["train"].missing_share, 6),
                "schema_sha256": sha256(fresh / "schema.json"),
                "train_sha256": sha256(fresh / "train.npy"),
                "test_sha256": sha256(fresh / "test.npy"),
                **facts["train"].class_counts,
            },
        )
    counts = f"{len(parts['train'])} training and {len(parts['test'])} test rows"
    print(f"prepare: {counts}, {data.schema.n_tokens} tokens each")


@dataclass(frozen=True)
class Part:
    """One split of a source's rows, read chunk by chunk.

    order(places): numbers of the rows at these places, int64. wanted: (N,) bool by place, None: every place. length.
    mirror: (C,) int64 the column of each cell of a mirrored row; such rows follow the others. None: no such rows.
    """

    rows: Rows
    order: Callable[[np.ndarray], np.ndarray]
    wanted: np.ndarray | None
    length: int
    mirror: np.ndarray | None = None

    def __len__(self) -> int:
        return self.length if self.mirror is None else 2 * self.length

    def chunks(self) -> Iterator[np.ndarray]:
        """(n, C) rows of the split, in their order."""
        yield from self._once()
        if self.mirror is not None:
            for part in self._once():
                yield part[:, self.mirror]

    def _once(self) -> Iterator[np.ndarray]:
        left, size = self.length, chunk_rows(math.prod(self.rows.shape[1:]))
        for start in range(0, len(self.rows), size):
            places = np.arange(start, min(start + size, len(self.rows)))
            places = places if self.wanted is None else places[self.wanted[places]]
            if left and len(places):
                yield self.rows[self.order(places[:left])]
                left -= len(places[:left])


def split(data: RawData, params: Params) -> tuple[Part, Part]:
    """(train, test): the source's own split, else a seeded one, stratified by label. Train comes shuffled.

    Raises ValueError for an empty dataset, and for prepare.mirror without an image.
    """
    n, limit = len(data.train), params.prepare.limit_rows
    mirror = mirrored_columns(data.schema) if params.prepare.mirror else None
    if n == 0:
        raise ValueError("the dataset must have rows. Got 0.")
    order = _shuffled(n, params.seed)
    if data.test is None:
        held_out = _held_out(data.schema, data.train, order, params.prepare.test_share)
        test = Part(data.train, order, held_out, int(held_out.sum()))
        wanted, length = ~held_out, n - len(test)
    else:
        test = Part(data.test, lambda places: places, None, len(data.test))
        wanted, length = None, n
    return Part(data.train, order, wanted, min(length, limit) if limit else length, mirror), test


def mirrored_columns(schema: Schema) -> np.ndarray:
    """(C,) int64 the column of each cell of a row whose image is seen in a mirror. Raises ValueError without an image."""
    if schema.image is None:
        raise ValueError("'prepare.mirror' must be false where there is no image. Got true.")
    pixels = np.arange(math.prod(schema.image)).reshape(schema.image)
    return np.append(pixels[:, ::-1], np.arange(pixels.size, len(schema.columns)))


def _shuffled(n: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """places → row numbers in a seeded order, which is never written down when it is long."""
    if n > IN_MEMORY_ROWS:
        return lambda places: walked(places, n, seed, 0x5B117)
    order = np.random.Generator(np.random.Philox(key=[seed, 0x5B117])).permutation(n)
    return lambda places: order[places]


def _held_out(schema: Schema, rows: Rows, order: Callable[[np.ndarray], np.ndarray], share: float) -> np.ndarray:
    """(N,) bool by place: the first `share` of the shuffled rows of each class (of all rows where there is no label).

    Where that would leave a split with fewer than FEWEST_ROWS, as classes of two or three rows do: so many of all rows,
    the commonest classes first, whatever the class. Raises ValueError for too few rows.
    """
    out = np.zeros(len(rows), bool)
    if len(rows) < 2 * FEWEST_ROWS:
        raise ValueError(
            f"the data must have at least {2 * FEWEST_ROWS} rows or images, {FEWEST_ROWS} to train on and {FEWEST_ROWS} "
            f"held out (prepare.test_share). Got {len(rows)}."
        )
    if not schema.label:
        out[: _between(round(share * len(rows)), len(rows))] = True
        return out
    labels = np.concatenate([schema.labels(part).astype(np.int32) for part in chunks(rows)])
    shuffled = np.empty_like(labels)
    for start in range(0, len(rows), chunk_rows(1)):
        places = np.arange(start, min(start + chunk_rows(1), len(rows)))
        shuffled[places] = labels[order(places)]
    for label in np.unique(shuffled):
        members = np.flatnonzero(shuffled == label)
        out[members[: round(share * len(members))]] = True
    if FEWEST_ROWS <= out.sum() <= len(rows) - FEWEST_ROWS:
        return out
    print("prepare: the classes are too small to be split each on its own; rows are held out of all together")
    rank = np.zeros(len(rows), np.int64)  # of a row in its class
    for label in np.unique(shuffled):
        members = np.flatnonzero(shuffled == label)
        rank[members] = np.arange(len(members))
    out[:] = False
    out[np.argsort(-rank, kind="stable")[: _between(round(share * len(rows)), len(rows))]] = True
    return out


def _between(held_out: int, rows: int) -> int:
    """`held_out`, as near as leaves both splits FEWEST_ROWS."""
    return min(max(held_out, FEWEST_ROWS), rows - FEWEST_ROWS)


@dataclass(frozen=True)
class Facts:
    """What a split's rows are like. dtype: uint8 where that loses nothing, else float32."""

    dtype: np.dtype
    missing_share: float
    class_counts: dict[str, int]


def _checked(schema: Schema, part: Part) -> Facts:
    """Facts of a split, after every row was checked. Raises ValueError as `Schema.check_rows` does."""
    small, missing = True, 0
    names = schema.categories[schema.label] if schema.label else []
    counts = np.zeros(len(names), np.int64)
    for rows in part.chunks():
        schema.check_rows(rows)
        if rows.dtype.kind == "f":
            missing += int(np.isnan(rows).sum())
        small = small and _fits_a_byte(rows)
        if names:
            counts += np.bincount(schema.labels(rows).clip(min=0), minlength=len(names))
    share = missing / (len(part) * len(schema.columns))
    shares = {f"class_{name}": int(c) for name, c in zip(names, counts, strict=True)}
    return Facts(np.dtype(np.uint8 if small else np.float32), share, shares)


def _fits_a_byte(rows: np.ndarray) -> bool:
    if rows.dtype == np.uint8:
        return True
    return bool(np.isfinite(rows).all() and (rows == np.floor(rows)).all() and rows.min() >= 0 and rows.max() <= 255)


def main() -> None:
    """Entry point of the stage."""
    run_stage("prepare", run)


if __name__ == "__main__":
    main()
