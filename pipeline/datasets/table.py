"""table: a CSV or Parquet file of the user's own, mixed columns and missing cells; dataset.path names it.

The codec (bins, categories) is fitted on the training split alone. Rows without a single known cell are left out.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.datasets.source import RawData, Source
from pipeline.params import Params, TableParams
from pipeline.table import TableError, fit_codec

PARQUET, TEXT = (".parquet", ".pq"), (".csv", ".tsv", ".txt")


def read_table(path: Path, params: TableParams) -> pd.DataFrame:
    """The DataFrame in a CSV (also .gz, .bz2, .xz, .zip) or Parquet file, cells that mean "missing" as missing.

    Raises TableError naming the file and what is wrong with it.
    """
    path = Path(path)
    kind = path.suffixes[-2] if path.suffix in (".gz", ".bz2", ".xz", ".zip") and path.suffixes[1:] else path.suffix
    if kind.lower() not in PARQUET + TEXT:
        raise TableError(f"{path.name}: must be one of {', '.join(TEXT + PARQUET)}. Got {kind!r}.")
    try:
        if kind.lower() in PARQUET:
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(
                path,
                sep="\t" if kind.lower() == ".tsv" else params.separator,
                encoding=params.encoding,
                na_values=list(params.missing),
                keep_default_na=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except FileNotFoundError as error:
        raise TableError(f"There must be a file at 'dataset.path'. Got {str(path)!r}.") from error
    except UnicodeError as error:
        raise TableError(
            f"{path.name}: must be text in the encoding {params.encoding!r} (prepare.table.encoding). {error}."
        ) from error
    except (
        ValueError,
        OSError,
        LookupError,
        EOFError,
        zlib.error,
    ) as error:  # pandas, Arrow and gzip raise all of them
        raise TableError(f"{path.name}: not a readable table: {error}") from error
    if frame.shape[1] == 0 or len(frame) == 0:
        raise TableError(
            f"{path.name}: must hold rows and columns. Got {frame.shape[0]} rows, {frame.shape[1]} columns."
        )
    return frame


def load(raw: Path, params: Params) -> RawData:
    """Rows of the user's file, split by seed before anything is fitted."""
    frame = read_table(SOURCE.user_file(raw, params), params.prepare.table)
    rng = np.random.Generator(np.random.Philox(key=[params.seed, 0x7AB1E]))
    order = rng.permutation(len(frame))
    held_out = round(params.prepare.test_share * len(frame))
    test, train = frame.iloc[order[:held_out]], frame.iloc[order[held_out:]]
    if len(train) == 0 or len(test) == 0:
        raise TableError(f"A table must have at least 2 rows, to be split. Got {len(frame)}.")
    codec = fit_codec(train, params.prepare.table)
    splits = [codec.rows(part, params.prepare.table.missing) for part in (train, test)]
    return RawData(codec.schema, *(rows[~np.isnan(rows).all(1)] for rows in splits))


SOURCE = Source("table", load, reads_path=True)
