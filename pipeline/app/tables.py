"""What the commands do with a table: fit, fill, sample, try."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.app.command_group import check_new, made
from pipeline.app.shell_words import in_shell_words
from pipeline.app.table_options import TableInput
from pipeline.base.fields import ParamsError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.sources.blocks import Source
    from pipeline.sources.places import Place


def load_imputer(model: Path) -> Any:
    """The imputer that `fit` saved in `model`."""
    from pipeline.estimators.imputer import BigLearnImputer

    return BigLearnImputer.load(model)


def fitted(frame: pd.DataFrame, seed: int, settings: list[str], given: TableInput) -> Any:
    """An imputer fitted on `frame`; settings: its arguments as name=value. Words that mean missing are as `given`."""
    from pipeline.estimators.imputer import BigLearnImputer

    words = {} if given.reading.missing is None else {"missing": list(given.reading.missing)}
    return BigLearnImputer(random_state=seed, **(words | keywords(settings))).fit(frame)


def keywords(settings: list[str]) -> dict[str, Any]:
    """Arguments of the imputer from "name=value" texts, read as YAML. Raises ParamsError for a text that is none."""
    import yaml

    out = {}
    for text in settings:
        name, _, value = text.partition("=")
        try:
            out[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise ParamsError(f"A setting must look like name=value, its value in YAML. Got {text!r}.") from error
    return out


def fit_table(
    place: Place, output: Path, given: TableInput, settings: list[str], seed: int, most: int, force: bool
) -> None:
    """Fits an imputer on the table at `place` and saves it in the folder `output`."""
    from pipeline.app.filling import fit_rows
    from pipeline.sources.opening import open_source, say

    output = check_new(output, force, folder=True)
    with open_source(place, given.reading) as source:
        frame = fit_rows(source, most, seed, say)
    fitted(frame, seed, settings, given).save(output)
    made(output)
    print(f"fit: model in {output}")


INSPECTED = ("kinds", "missing", "formats", "max_categories")


def inspect_table(place: Place, given: TableInput, settings: list[str], most: int, *, rules: bool = False) -> str:
    """What the columns of the table at `place` are, as text. settings: arguments of the imputer as name=value. rules: also
    those that its rows keep."""
    from pipeline.sources.blocks import sampled
    from pipeline.sources.opening import open_source, say
    from pipeline.tables.inspection import inspect, table_of

    words = {} if given.reading.missing is None else {"missing": list(given.reading.missing)}
    asked = words | keywords(settings)
    unknown = [name for name in asked if name not in INSPECTED]
    if unknown:
        raise ValueError(f"--set of inspect must name one of {', '.join(INSPECTED)}. Got {unknown[0]!r}.")
    with open_source(place, given.reading) as source:
        rows_of = source.rows
        if rows_of > most:
            say(f"looking at {most} of {rows_of} rows, drawn at random with seed 0 (--fit-rows)")
        frame = sampled(source, most, 0)
        columns = inspect(frame, **asked)
    told = in_shell_words(table_of(columns))
    text = f"{rows_of} rows, {len(columns)} columns\n\n{told}"
    return f"{text}\n\n{rules_text(frame, asked)}" if rules else text


def rules_text(frame: pd.DataFrame, asked: dict[str, Any]) -> str:
    """The rules that a table's rows keep, one a line, and how to give them to `fit`. asked: arguments of `inspect`."""
    from pipeline.asking.finding import find_rules

    found = find_rules(frame, **asked)
    if not len(found):
        return "Rules that all rows keep: none found."
    width = max(map(len, found["rule"]))
    lines = [f"  {r.rule.ljust(width)}  {r.rows} rows; {r.why}" for r in found.itertuples()]
    return "\n".join(["Rules that all rows keep (fit … --set 'rules=[…]', or rules=learn):", *lines])


def try_table(place: Place, given: TableInput, settings: list[str], seed: int) -> None:
    """Prints how well the gaps of the table at `place` would be filled."""
    import json

    from pipeline.app.filling import FIT_ROWS, fit_rows
    from pipeline.estimators.imputer import BigLearnImputer
    from pipeline.evaluation.trial import trial
    from pipeline.sources.opening import open_source, say

    with open_source(place, given.reading) as source:
        frame = fit_rows(source, FIT_ROWS, seed, say)
    print(json.dumps(trial(frame, BigLearnImputer(random_state=seed, **keywords(settings)), seed), indent=2))


@dataclass(frozen=True)
class Imputing:
    """What `impute` is asked: see its options."""

    model: Path | None = None
    draws: int = 0
    seed: int = 0
    fit_rows: int = 0
    settings: tuple[str, ...] = ()
    runner: str = "here"
    dask_address: str | None = None
    workers: int = 2
    force: bool = False


def impute_table(place: Place, output: Place, given: TableInput, asked: Imputing) -> None:
    """Writes the table at `place` to `output` with its missing cells filled, and says how many there were."""
    from pipeline.app.filling import filler, renewer_of, write_filled
    from pipeline.sources.opening import check_sink, open_source, say
    from pipeline.tables.readable import stamp_names

    one_file = output.path is not None and output.kind != "sqlite"
    if one_file:
        output = replace(output, path=check_new(output.path, asked.force, folder=False))
    check_sink(output, asked.force)
    imputer = load_imputer(asked.model) if asked.model is not None else None
    with open_source(place, given.reading) as source:
        stamps = stamp_names(source.names) if asked.draws else None
        if stamps not in (None, ("draw", "row")):
            say(
                f"note: draws and rows are numbered in the columns {stamps[0]!r} and {stamps[1]!r}: the table has others."
            )
        if imputer is None:
            imputer = _fitted_where_needed(source, given, asked)
        renewer = None if imputer is None else renewer_of(source, imputer, asked.seed)
        runs = (
            nullcontext(None) if imputer is None else filler(imputer, asked.runner, asked.dask_address, asked.workers)
        )
        with runs as fill:
            found = write_filled(
                source,
                output,
                fill,
                draws=asked.draws,
                seed=asked.seed,
                force=asked.force,
                stamps=stamps,
                renewer=renewer,
            )
    if one_file:
        made(output.path)
    for name, count in found.left.items():
        say(f"note: column {name!r}: {count} cells stay missing.")
    filled = found.missing - sum(found.left.values())
    print(f"impute: {filled} missing cells of {found.rows} rows filled in {output.path or output.name}")


def _fitted_where_needed(source: Source, given: TableInput, asked: Imputing) -> Any:
    """An imputer fitted on the table; None where no cell of it is missing."""
    from pipeline.app.filling import fit_rows
    from pipeline.sources.opening import say

    frame = fit_rows(source, asked.fit_rows, asked.seed, say)
    if len(frame) == source.rows and not frame.isna().to_numpy().any():
        return None
    return fitted(frame, asked.seed, list(asked.settings), given)


def write_sampled(sampler: Any, count: int, output: Path, known: list[str], seed: int) -> None:
    """Writes `count` rows drawn from the model of a table, block by block, given the cells that `known` names."""
    import numpy as np
    from tqdm import tqdm

    from pipeline.estimators.filling import block_seed
    from pipeline.sources.blocks import BLOCK_ROWS, Block
    from pipeline.sources.opening import GeneratedSource, open_sink
    from pipeline.sources.places import place_of
    from pipeline.tables.codec import TableCodec
    from pipeline.tables.parts import assign

    schema = sampler.schema
    codec = TableCodec(schema)
    source = GeneratedSource(list(codec.new_frame(np.empty((0, len(schema.columns))), 0).columns), count)
    with (
        open_sink(place_of(output), source, force=True) as sink,
        tqdm(total=count, desc="sample", unit="row", unit_scale=True, dynamic_ncols=True, disable=None) as bar,
    ):
        for number, first in enumerate(range(0, count, BLOCK_ROWS)):
            rows = np.full((min(BLOCK_ROWS, count - first), len(schema.columns)), np.nan, np.float32)
            rows = assign(schema, rows, known)
            part = seed if count <= BLOCK_ROWS else block_seed(seed, 0, number)
            drawn = sampler.complete(rows, ~np.isnan(rows), 1, part, progress=bar.update)[0]
            frame = codec.new_frame(drawn, part)
            sink.write(Block(number, first, frame, None), frame)
