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
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.base.paths import paths

MAX_CHARACTERS = 1 << 20  # of params.yaml


class ParamsError(ValueError):
    """A parameter is unknown, missing, of the wrong type or out of range."""


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
)


def ranged(default: Any, low: float, high: float, what: str) -> Any:
    """A field whose value (or every element, for a list or dict) lies in [low, high]."""
    return _field(default, {"low": low, "high": high, "what": what})


def chosen(default: Any, choices: Sequence[str], what: str) -> Any:
    """A field whose value is one of `choices`."""
    return _field(default, {"choices": tuple(choices), "what": what})


def described(default: Any, what: str) -> Any:
    """A field with no range."""
    return _field(default, {"what": what})


def _field(default: Any, metadata: dict) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


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
        {}, "column → float, integer, boolean, category, date or ignore, where the inferred kind is wrong"
    )
    label: str = described("", "column that names the class, read as categories; empty: none")
    scaling: str = chosen("quantile", ("quantile", "standard"), "numbers through quantile bins, or standardised")
    bins: int = ranged(64, 2, 4096, "bins of a number, about; fewer distinct values are drawn exactly")
    max_categories: int = ranged(256, 2, 32767, "categories of a column that are modelled: the commonest")
    missing: list[str] = described(
        ["", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"], "texts that mean a missing cell"
    )
    encoding: str = described("utf-8", "text encoding of a CSV file")
    separator: str = described(",", "separator of a CSV file")


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
        {"joint": 0.25, "modality": 0.3, "beta_random": 0.2, "half": 0.25},
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
    label_to_image_share: float = ranged(0.6, 0.0, 1.0, "share of modality tasks whose target is the image")
    label_visible_share: float = ranged(
        0.5, 0.0, 1.0, "share of block and half tasks whose label token is visible (target or source)"
    )


@dataclass
class NetworkParams:
    """The transformer class that is both generator and discriminator."""

    width: int = ranged(48, 8, 4096, "model width; a multiple of heads")
    depth: int = ranged(2, 1, 64, "blocks")
    position: str = chosen(
        "random", ("random", "grid"), "first value of the learned positions of patches: random, waves on their grid"
    )
    heads: int = ranged(2, 1, 64, "attention heads; width/heads is the head dimension")
    mlp_ratio: float = ranged(2.0, 0.5, 8.0, "hidden width of the MLP / width")
    order: str = chosen(
        "categorical_first",
        ("categorical_first", "one_pass", "one_by_one"),
        "categories first and the rest given them (chain rule), every target in one pass, or one after the other",
    )
    choice_passes: int = ranged(1, 1, 256, "passes that share out the categories of categorical_first; 1: independent")
    convolution_channels: int = ranged(
        8, 0, 1024, "channels of convolutions over an image, beside its patches in both networks; 0: none"
    )
    dropout: float = ranged(0.0, 0.0, 0.9, "share of the generator's MLP activations dropped in training")
    noise_width: int = ranged(32, 1, 4096, "global noise dimensions; each target token gets its own of the same width")


@dataclass
class TrainParams:
    """train → data/models."""

    steps: int = ranged(7500, 1, 10**8, "optimiser steps of the generator")
    batch_size: int = ranged(64, 2, 65536, "rows a step over all processes")
    processes: int = ranged(2, 1, 64, "data-parallel CPU processes on this machine; a GPU run uses torchrun")
    threads: int = ranged(1, 1, 256, "intra-op threads of each process; small models are faster with one")
    sharding: str = chosen(
        "none", ("none", "optimiser"), "optimiser: processes share out Adam's moments and the average, to save memory"
    )
    device: str = chosen("auto", ("auto", "cpu", "cuda"), "auto: cuda when there is one")
    time_limit_s: float = ranged(
        0.0, 0.0, 1e7, "seconds after which training stops, its schedule following the clock; 0: none"
    )
    autocast: str = chosen("auto", ("auto", "none", "bfloat16"), "auto: bfloat16 on cuda, none on cpu")
    attention_backend: str = chosen("auto", ("auto", "reference", "triton"), "kernel of masked attention")
    compile: bool = described(
        False, "compile the blocks, with Triton attention the exact penalty too; for large models on a GPU"
    )
    cuda_graph: bool = described(True, "on one GPU, replay captured steps: a small model is bound by their launches")
    loss: str = chosen("relativistic", ("relativistic", "non_saturating", "hinge"), "adversarial loss")
    adversarial_weight: float = ranged(1.0, 0.0, 1e3, "weight of the adversarial losses; 0: likelihood alone")
    communication_weight: float = ranged(0.0, 0.0, 1e3, "weight of the communication loss (method: eq. 6); 0: off")
    mismatch_weight: float = ranged(1.0, 0.0, 1e3, "weight of mismatched-source negatives at the first step")
    mismatch_final_weight: float = ranged(0.01, 0.0, 1e3, "weight that it falls to, linearly")
    mismatch_decay_end: float = ranged(0.3, 0.0, 1.0, "share of the training after which it has fallen; 0: at once")
    likelihood_weight: float = ranged(1.0, 0.0, 1e3, "weight of the likelihood route: cross-entropy, continuous error")
    continuous_likelihood_weight: float = ranged(0.0, 0.0, 1e3, "weight of the error of continuous targets in it")
    continuous_error: str = chosen(
        "absolute", ("absolute", "squared"), "that error: its optimum is the conditional median or mean"
    )
    ranked_weight: float = ranged(0.0, 0.0, 1e3, "weight of the ranked probability score of bins and categories in it")
    likelihood_source_share: float = ranged(0.0, 0.0, 1.0, "least share of sources for the likelihood terms")
    penalty: str = chosen("exact", ("exact", "approximate", "none"), "R1 and R2: exact double backward, or one draw")
    penalty_weight: float = ranged(0.3, 0.0, 1e4, "γ of R1 and of R2")
    penalty_interval: int = ranged(4, 1, 1024, "steps between penalties; the weight is scaled by it")
    penalty_precision: str = chosen(
        "autocast", ("autocast", "float32"), "of the exact penalty; autocast: that of the rest of the step"
    )
    drift_weight: float = ranged(0.001, 0.0, 1e4, "weight of the mean squared logit, which keeps logits near 0")
    patch_logit: bool = described(True, "add the mean of a per-target-token logit to the CLS logit")
    minibatch_group: int = ranged(8, 1, 1024, "rows per group of the minibatch standard deviation; 1: off")
    straight_through: bool = described(False, "adversarial gradients pass the draw of categories")
    lr: float = ranged(1e-3, 0.0, 1.0, "Adam step size of the discriminator")
    generator_lr: float = ranged(1e-3, 0.0, 1.0, "Adam step size of the generator")
    beta1: float = ranged(0.0, 0.0, 0.999, "Adam first-moment decay; 0 suits adversarial losses, 0.9 likelihood alone")
    beta2: float = ranged(0.99, 0.0, 0.99999, "Adam second-moment decay")
    weight_decay: float = ranged(0.0, 0.0, 10.0, "decoupled weight decay of Adam, times the step size")
    warmup_steps: int = ranged(100, 0, 10**7, "linear warm-up")
    decay_start: float = ranged(0.5, 0.0, 1.0, "share of the steps after which lr falls linearly to zero")
    clip_norm: float = ranged(10.0, 0.0, 1e6, "gradient norm limit of each network; 0: none")
    ema_decay: float = ranged(0.998, 0.0, 1.0, "decay of the averaged generator per step")
    log_interval: int = ranged(50, 1, 10**7, "steps between metric lines")
    sample_interval: int = ranged(2000, 1, 10**8, "steps between saved sample grids")
    checkpoint_interval: int = ranged(1000, 1, 10**8, "steps between checkpoints")
    deterministic: bool = described(
        False, "only algorithms whose sums have one order, so that a GPU repeats itself bit by bit; slower there"
    )
    seed_offset: int = ranged(0, 0, 10**6, "added to the seed: repeats of one experiment")


@dataclass
class SampleParams:
    """How samples are drawn from the trained generator."""

    batch_size: int = ranged(512, 1, 10**6, "rows per forward pass")
    device: str = chosen("auto", ("auto", "cpu", "cuda"), "where evaluate draws; auto: cuda when there is one")


@dataclass
class EvaluateParams:
    """evaluate → data/metrics/evaluate.json."""

    draws: int = ranged(10, 2, 1000, "draws per row for conditional metrics")
    rows: int = ranged(360, 16, 10**6, "test rows of conditional metrics, at most")
    source_shares: list[float] = ranged(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 0.0, 1.0, "|S|/L of the completion curves"
    )
    classifier_epochs: int = ranged(60, 1, 1000, "epochs of the classifier whose features measure FID")
    joint_samples: int = ranged(
        0,
        0,
        10**6,
        "joint samples for FID, and real rows beside them, at most half the training rows; 0: at most 5,000",
    )
    baselines: bool = described(True, "mean fill, nearest-neighbour fill and IterativeImputer in the same run")
    baseline_rows: int = ranged(1500, 16, 10**6, "training rows that the baselines see, at most")


@dataclass
class SimulateParams:
    """simulate → data/simulations: the paper's 25-GMM, 2-GMM and BigLearn-EM."""

    seeds: int = ranged(8, 1, 100000, "independent runs")
    threads: int = ranged(2, 1, 1024, "runs at a time; no result depends on it")
    figures: bool = described(True, "draw the figures and the animation")
    animation_frames: int = ranged(40, 2, 1000, "frames of the 25-GMM animation")
    gmm25_paper: bool = described(True, "also run the paper's schedule and joint-only matching, the baselines")
    gmm25_outer: int = ranged(1000, 1, 10**6, "tuned schedule: tasks, each with one random direction")
    gmm25_inner: int = ranged(100, 1, 10**5, "tuned schedule: steps per task")
    gmm25_samples: int = ranged(100, 1, 65536, "samples of the model a step")
    gmm25_lr: float = ranged(0.5, 1e-4, 2.0, "tuned schedule: SGD step size until decay_start")
    gmm25_lr_final: float = ranged(0.01, 1e-6, 2.0, "tuned schedule: step size of the last task, reached exponentially")
    gmm25_decay_start: float = ranged(
        0.7, 0.0, 1.0, "tuned schedule: share of the tasks after which the step size falls"
    )
    gmm25_joint_start: float = ranged(0.7, 0.0, 1.0, "tuned schedule: share of the tasks after which joint ones occur")
    gmm25_joint_probability: float = ranged(0.1, 0.0, 1.0, "tuned schedule: probability of a joint task from then on")
    gmm25_scale_floor: float = ranged(0.05, 0.01, 0.2, "least diagonal entry of a component's Cholesky factor")
    gmm25_gradient_limit: float = ranged(4.0, 0.01, 20.0, "each gradient entry is cut at ± this")
    gmm2_grid: int = ranged(100, 5, 1000, "points an axis of the loss surfaces over [−2, 2]²")
    gmm2_nodes: int = ranged(32, 8, 128, "Gauss–Hermite nodes a component")
    gmm2_variance: float = ranged(0.1, 0.02, 1.0, "variance of every component")
    gmm2_marginal_angles_deg: list[float] = ranged(
        [15.0 * i for i in range(12)], -360.0, 360.0, "rotations of the marginal tasks"
    )
    gmm2_conditional_angles_deg: list[float] = ranged(
        [15.0 * i for i in range(7)], -360.0, 360.0, "rotations of the conditional tasks"
    )
    gmm2_conditional_values: list[float] = ranged(
        [i / 3 - 1 for i in range(7)],
        -10.0,
        10.0,
        "y₂ of the conditional tasks, in units of the data's 3σ reach along y₂",
    )
    blem_outer: int = ranged(600, 1, 10**6, "BigLearn-EM: tasks a run on the 25-GMM data")
    blem_inner: int = ranged(5, 1, 1000, "BigLearn-EM: EM steps a task; EM gets outer × inner steps")
    blem_rows: int = ranged(2000, 50, 10**6, "BigLearn-EM: training rows of the 25-GMM data")
    blem_covariance_prior: float = ranged(
        40.0, 0.0, 10**6, "pseudo-rows that pull each covariance to the pooled one, in BigLearn-EM"
    )


@dataclass
class ReportParams:
    """report → data/report/index.html."""

    title: str = described("BigLearn report", "heading of the page")


@dataclass
class ReproduceParams:
    """flows/reproduce.py: how stages are run; no result depends on it."""

    fetch_retries: int = ranged(3, 0, 100, "further tries of the stage that needs a network")
    fetch_retry_delay_s: float = ranged(10.0, 0.0, 3600.0, "seconds before the first of them; doubles each time")
    stage_timeout_s: float = ranged(86400.0, 0.1, 1e7, "seconds after which a stage is ended and fails")
    busy_wait_s: float = ranged(3600.0, 0.0, 1e7, "seconds to wait for another DVC process in the same folder")


@dataclass
class RetrainParams:
    """flows/retrain.py: the gate a new model passes before it is promoted."""

    metric: str = described("fid", "key of data/metrics/evaluate.json that decides")
    direction: str = chosen("lower", ("lower", "higher"), "which way is better")
    tolerance: float = ranged(0.05, 0.0, 10.0, "how much worse a new model may be, share of the promoted one's value")


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
        raise ParamsError(f"No parameter file at {file}.") from error
    except Exception as error:  # YAML errors come in several classes; all mean the same to the user
        raise ParamsError(f"{file} is not readable YAML: {error}") from error
    return merge_params(given, overrides)


def merge_params(given: Any, overrides: Sequence[str] = ()) -> Params:
    """Params from a mapping (or an OmegaConf node) over the defaults, checked. Raises ParamsError."""
    try:
        base = OmegaConf.structured(Params)
        node = OmegaConf.create(given or {}) if not OmegaConf.is_config(given) else given
        if not OmegaConf.is_dict(node):
            raise ParamsError(f"params.yaml must be a mapping of groups. Got {type(given).__name__}.")
        changes = _from_dotlist(overrides)
        for source in (node, changes):
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
                if not (math.isfinite(v) and low <= v <= high):
                    raise ParamsError(f"Parameter '{key}' must lie in [{low}, {high}]. Got {v}.")


def to_dict(params: Any) -> dict:
    """Plain nested dict of a params dataclass, for JSON and hashing."""
    return dataclasses.asdict(params)
