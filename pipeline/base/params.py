"""Every tunable number: one dataclass per params group, ranges checked; sole reader of params.yaml.

    from pipeline.base.params import load_params
    params = load_params()            # or load_params(path, ["train.steps=100"])

A field's metadata holds its range (`low`, `high`, both inclusive) or its `choices`; an unknown key, a
wrong type, a missing value or a number out of range raises ParamsError, which names the full key,
what is required and what came.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.base.data_groups import TASK_FAMILIES, DatasetParams, FetchParams, PrepareParams, TasksParams
from pipeline.base.fields import ParamsError, ranged
from pipeline.base.model_groups import NetworkParams, SampleParams, TrainParams
from pipeline.base.paths import paths
from pipeline.base.result_groups import EvaluateParams, ReportParams, ReproduceParams, RetrainParams, SimulateParams

MAX_CHARACTERS = 1 << 20  # of params.yaml


@dataclass
class Params:
    """All groups, plus the seed every random stream is derived from."""

    seed: int = ranged(0, 0, 2**31 - 1, "root of every random stream")
    dataset: DatasetParams = field(default_factory=DatasetParams)
    fetch: FetchParams = field(default_factory=FetchParams)
    prepare: PrepareParams = field(default_factory=PrepareParams)
    tasks: TasksParams = field(default_factory=TasksParams)
    network: NetworkParams = field(default_factory=NetworkParams)
    train: TrainParams = field(default_factory=TrainParams)
    sample: SampleParams = field(default_factory=SampleParams)
    evaluate: EvaluateParams = field(default_factory=EvaluateParams)
    simulate: SimulateParams = field(default_factory=SimulateParams)
    report: ReportParams = field(default_factory=ReportParams)
    reproduce: ReproduceParams = field(default_factory=ReproduceParams)
    retrain: RetrainParams = field(default_factory=RetrainParams)


def load_params(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Params:
    """The checked parameters of `path` (default: the project's params.yaml).

    overrides: dotted assignments, e.g. "train.lr=1e-4".
    Raises ParamsError naming the key, the requirement and the value received.
    """
    file = Path(path) if path is not None else paths().params
    try:
        _check_text(file.read_text(encoding="utf8"))
        given = OmegaConf.load(file)
    except FileNotFoundError as error:
        raise ParamsError(
            f"No parameter file at {file}. Go to a project's folder, or name one with --project or BIGLEARN_ROOT."
        ) from error
    except Exception as error:  # YAML errors come in several classes; all mean the same to the user
        raise ParamsError(f"{file} is not readable YAML: {error}") from error
    return merge_params(given, overrides)


def merge_params(given: Any, overrides: Sequence[str] = ()) -> Params:
    """Params from a mapping (or an OmegaConf node) over the defaults, checked. Raises ParamsError."""
    try:
        base = _defaults()  # stays as it is: a merge copies
        node = OmegaConf.create(given or {}) if not OmegaConf.is_config(given) else given
        if not OmegaConf.is_dict(node):
            raise ParamsError(f"params.yaml must be a mapping of groups. Got {type(given).__name__}.")
        changes = _from_dotlist(overrides)
        for source in filter(len, (node, changes)):
            base = OmegaConf.merge(base, source)
            if OmegaConf.select(source, "tasks.weights") is not None:  # a mixture replaces, it does not add
                base.tasks.weights = OmegaConf.select(source, "tasks.weights")
        params = OmegaConf.to_object(base)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", "") or ""
        first = str(error).strip().splitlines()[0]
        raise ParamsError(f"Parameter '{key}': {first}") from error
    check_params(params)
    return params


@lru_cache(1)
def _defaults() -> DictConfig:
    """The defaults as OmegaConf holds them, which takes 30 ms to build."""
    return OmegaConf.structured(Params)


def _from_dotlist(overrides: Sequence[str]) -> DictConfig:
    """Overrides as a mapping. Raises ParamsError naming one that is no key=value with a value in YAML."""
    for override in overrides:
        _check_text(override)
    try:
        return OmegaConf.from_dotlist(list(overrides))
    except (yaml.YAMLError, ValueError, TypeError, IndexError, RecursionError) as error:
        first = str(error).strip().splitlines()[0]
        raise ParamsError(f"A parameter must look like group.name=value. Got {list(overrides)}: {first}") from error


def _check_text(text: str) -> None:
    """Raises ParamsError for text that could grow when it is read: too long, or with YAML aliases."""
    if len(text) > MAX_CHARACTERS:
        raise ParamsError(f"Parameters must have at most {MAX_CHARACTERS} characters. Got {len(text)}.")
    try:
        if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ParamsError("Parameters must be written without YAML aliases (*name). Got one.")
    except (yaml.YAMLError, RecursionError) as error:
        raise ParamsError(f"Parameters are not readable YAML: {error}") from error


def check_params(params: Params) -> None:
    """Raises ParamsError for the first value outside its range, or for values that do not fit together."""
    _check_group("", params)
    unknown = set(params.tasks.weights) - set(TASK_FAMILIES)
    if unknown:
        raise ParamsError(
            f"Parameter 'tasks.weights' must name task families among {', '.join(TASK_FAMILIES)}. Got {sorted(unknown)}."
        )
    if not sum(params.tasks.weights.values()) > 0:
        raise ParamsError(f"Parameter 'tasks.weights' must have a positive sum. Got {dict(params.tasks.weights)}.")
    for name in ("source_beta", "target_beta", "block_share"):
        value = getattr(params.tasks, name)
        if len(value) != 2:
            raise ParamsError(f"Parameter 'tasks.{name}' must hold two numbers. Got {value}.")
    if params.tasks.block_share[0] > params.tasks.block_share[1]:
        raise ParamsError(f"Parameter 'tasks.block_share' must not decrease. Got {params.tasks.block_share}.")
    if params.network.width % params.network.heads:
        raise ParamsError(
            f"Parameter 'network.width' must be a multiple of network.heads ({params.network.heads}). "
            f"Got {params.network.width}."
        )
    train = params.train
    per_process = train.batch_size / train.processes
    if per_process != int(per_process) or per_process % train.minibatch_group:
        raise ParamsError(
            f"Parameter 'train.batch_size' must be a multiple of train.processes × train.minibatch_group "
            f"({train.processes} × {train.minibatch_group}). Got {train.batch_size}."
        )
    if train.adversarial_weight == 0 and train.likelihood_weight == 0:
        raise ParamsError("Parameter 'train.adversarial_weight' and 'train.likelihood_weight' must not both be 0.")


def _check_group(prefix: str, group: Any) -> None:
    for f in dataclasses.fields(group):
        key, value = f"{prefix}{f.name}", getattr(group, f.name)
        if dataclasses.is_dataclass(value):
            _check_group(f"{key}.", value)
            continue
        if "choices" in f.metadata and value not in f.metadata["choices"]:
            raise ParamsError(f"Parameter '{key}' must be one of {', '.join(f.metadata['choices'])}. Got {value!r}.")
        if "low" in f.metadata:
            low, high = f.metadata["low"], f.metadata["high"]
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            for v in values:
                if not (isinstance(v, int | float) and math.isfinite(v) and low <= v <= high):
                    raise ParamsError(f"Parameter '{key}' must lie in [{low}, {high}]. Got {v}.")


def to_dict(params: Any) -> dict:
    """Plain nested dict of a params dataclass, for JSON and hashing."""
    return dataclasses.asdict(params)
