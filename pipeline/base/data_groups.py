"""Groups of parameters that make rows and tasks: dataset, fetch, prepare, tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.base.fields import chosen, described, ranged

TASK_FAMILIES = (
    "joint",
    "marginal",
    "beta_random",
    "block",
    "half",
    "modality",
    "causal",
    "permutation",
    "bert",
    "mae",
    "column_missing",
    "copied",
    "proportional",
)


@dataclass
class DatasetParams:
    """Which data. Nothing but pipeline/datasets knows a dataset by name."""

    name: str = described("digits", "digits, mnist, fashion_mnist, …: a module registered in pipeline/datasets")
    path: str = described("", "file or folder of the user's own data, for the sources that read one")
    watch: str = described("inputs", "file or folder whose change makes the stage fetch stale: dataset.path, if set")


@dataclass
class FetchParams:
    """fetch → data/raw."""

    timeout_s: float = ranged(30.0, 1.0, 3600.0, "seconds without a byte before a mirror is given up")
    attempts: int = ranged(3, 1, 20, "tries per mirror, each resuming where the last stopped")


@dataclass
class TableParams:
    """How a table becomes rows; for dataset.name=table and for BigLearnImputer."""

    kinds: dict[str, str] = described(
        {},
        "column → float, integer, boolean, category, date, time, duration, period, id, text or ignore; others are inferred",
    )
    formats: dict[str, str] = described({}, "column → format of its dates, e.g. %d.%m.%Y; others are inferred")
    label: str = described("", "column that names the class, read as categories; empty: none")
    scaling: str = chosen("quantile", ("quantile", "standard"), "numbers through quantile bins, or standardised")
    bins: int = ranged(64, 2, 4096, "bins of a number, about; fewer distinct values are drawn exactly")
    max_categories: int = ranged(256, 2, 32767, "categories of a column that are modelled: the commonest")
    missing: list[str] = described(
        ["", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "null", "NULL", "None"],
        "texts and numbers that mean a missing cell; this list: these and others like them, and where they may be values, not",
    )
    missing_in: dict[str, list[str]] = described(
        {}, "column → texts and numbers that mean a missing cell in it, instead"
    )
    encoding: str = described("", "encoding of a text file, e.g. cp1252; empty: detected")
    separator: str = described("", "separator of a text file: , ; tab or another; empty: detected")
    decimal: str = described("", "decimal mark of a text file, . or a comma; empty: detected")


@dataclass
class PrepareParams:
    """prepare → data/tokens."""

    patch_size_px: int = ranged(
        0, 0, 64, "edge of a square image patch, must divide the image; 0: the source's default"
    )
    test_share: float = ranged(0.2, 0.01, 0.9, "share of rows held out, where the source has no test split")
    label_token: bool = described(True, "append the class label as a token")
    image_size_px: int = ranged(0, 0, 1024, "edge to which images are cropped and resized; 0: the source's default")
    image_colour: str = chosen("auto", ("auto", "grey", "rgb"), "auto: grey when the first images are")
    attributes: list[str] = described([], "attributes kept as tokens; empty: all")
    text_length: int = ranged(32, 2, 4096, "characters of a row of text")
    text_characters: int = ranged(96, 2, 255, "most frequent characters with codes of their own; the rest share one")
    limit_rows: int = ranged(0, 0, 10**9, "use the first rows of the shuffled training split only; 0: all")
    mirror: bool = described(False, "training images also seen in a mirror, after the others, with the same categories")
    table: TableParams = field(default_factory=TableParams)


@dataclass
class TasksParams:
    """tasks → data/tasks: the task distribution q(S, T), a mixture of families."""

    train_rows: int = ranged(131072, 64, 2**31, "rows of the training bank")
    evaluation_rows: int = ranged(4096, 64, 2**31, "rows of the fixed evaluation bank")
    weights: dict[str, float] = ranged(
        {"joint": 0.2, "modality": 0.2, "beta_random": 0.4, "half": 0.2},
        0.0,
        1e6,
        "mixture weights of the families; normalised",
    )
    source_beta: list[float] = ranged([1.0, 1.0], 1e-3, 1e3, "|S|/L ~ Beta(a, b) in beta_random")
    target_beta: list[float] = ranged([3.0, 0.5], 1e-3, 1e3, "|T|/(L−|S|) ~ Beta(a, b) in beta_random")
    block_share: list[float] = ranged(
        [0.25, 0.75], 0.0, 1.0, "smallest and largest edge of a block, share of the image"
    )
    bert_target_share: float = ranged(0.15, 0.0, 1.0, "share of tokens that are targets in bert")
    mae_target_share: float = ranged(0.75, 0.0, 1.0, "share of patches that are targets in mae")
    column_missing_share: float = ranged(0.3, 0.0, 1.0, "probability that a column is missing in column_missing")
    causal_prefix_share: float = ranged(0.0, 0.0, 1.0, "share of causal tasks with a random source prefix; 0: GPT")
    label_to_image_share: float = ranged(0.5, 0.0, 1.0, "share of modality tasks whose target is the image")
    label_visible_share: float = ranged(
        0.9, 0.0, 1.0, "share of block and half tasks whose label token is visible (target or source)"
    )
