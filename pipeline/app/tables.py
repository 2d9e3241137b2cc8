"""What the commands do with a table: fit, fill, try."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.app.command_group import check_new

if TYPE_CHECKING:
    import pandas as pd


def load_imputer(model: Path) -> Any:
    """The imputer that `fit` saved in `model`."""
    from pipeline.estimators.imputer import BigLearnImputer

    return BigLearnImputer.load(model)


def fitted(frame: pd.DataFrame, seed: int, settings: list[str]) -> Any:
    """An imputer fitted on `frame`; settings: its arguments as name=value."""
    from pipeline.estimators.imputer import BigLearnImputer

    return BigLearnImputer(random_state=seed, **keywords(settings)).fit(frame)


def keywords(settings: list[str]) -> dict[str, Any]:
    """Arguments of the imputer from "name=value" texts, read as YAML."""
    import yaml

    pairs = [s.partition("=") for s in settings]
    return {name: yaml.safe_load(value) for name, _, value in pairs}


def fit_table(data: Path, output: Path, settings: list[str], seed: int, force: bool) -> None:
    from pipeline.exchange.reading import read_frame

    check_new(output, force)
    fitted(read_frame(data), seed, settings).save(output)
    print(f"fit: model in {output}")


def try_table(data: Path, settings: list[str], seed: int) -> None:
    import json

    from pipeline.app.project import source_name
    from pipeline.estimators.imputer import BigLearnImputer
    from pipeline.evaluation.trial import trial
    from pipeline.exchange.reading import read_frame

    if source_name(data) != "table":
        raise ValueError(f"evaluate takes a model's folder, or a table in .csv, .tsv or .parquet. Got {data}.")
    scores = trial(read_frame(data), BigLearnImputer(random_state=seed, **keywords(settings)), seed)
    print(json.dumps(scores, indent=2))


def stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of all draws, with columns `draw` and `row` in front."""
    import pandas as pd

    parts = [t.assign(draw=i, row=range(len(t))) for i, t in enumerate(tables)]
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["draw", "row", *[c for c in stacked.columns if c not in ("draw", "row")]]]
