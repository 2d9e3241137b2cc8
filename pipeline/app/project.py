"""One command from a user's file to a trained model: a project folder with params.yaml and data/, stage after stage.

A project is what the repository root is: `params.yaml`, `data/tokens`, `data/models/generator`, …. So the other
commands, DVC and the stages themselves work in it too, and an interrupted fit resumes where it stopped.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from pipeline.base.fields import ParamsError
from pipeline.base.files import remove_leftovers, write_array, write_text
from pipeline.base.ownership import made_project
from pipeline.base.params import Params, load_params, merge_params, to_dict
from pipeline.base.paths import Paths
from pipeline.base.stage import stage_lock
from pipeline.datasets import get_source
from pipeline.sources.places import SUFFIXES, is_table

RECIPE_GROUPS = ("dataset", "prepare", "tasks", "network", "train", "sample")
SOURCE_OF_SUFFIX = {".npz": "npz", ".npy": "npz", ".txt": "text"}


def source_name(data: Path) -> str:
    """The dataset name that reads `data`: a folder is image_folder, a file goes by its suffix. Raises ValueError."""
    data = Path(data)
    if not data.exists():
        raise ValueError(f"There is no file or folder {data}.")
    if data.is_dir():
        return "image_folder"
    if is_table(data):
        return "table"
    suffix = data.suffix.lower()
    if suffix not in SOURCE_OF_SUFFIX:
        known = [*SOURCE_OF_SUFFIX, *(s for s in SUFFIXES if s not in SOURCE_OF_SUFFIX)]
        raise ValueError(f"A model is fitted to a folder of images or a file in {', '.join(known)}. Got {data}.")
    return SOURCE_OF_SUFFIX[suffix]


def model_folder(path: Path) -> Path:
    """The folder of the saved generator: `path` itself, or data/models/generator in the project `path`.

    Raises ValueError when there is neither.
    """
    path = Path(path)
    for folder in (path, Paths(path).generator):
        if (folder / "model.safetensors").is_file() and (folder / "schema.json").is_file():
            return folder
    raise ValueError(
        f"A model is a folder with model.safetensors, or a project with {Paths(path).generator}. Got {path}."
    )


def start_project(root: Path, dataset: str, data: Path, overrides: Sequence[str], seed: int, *, force: bool) -> Params:
    """The checked parameters of the project in `root`, whose params.yaml is written first.

    A project with a finished model is only trained again when `force` is set; one without goes on where it stopped.
    Raises ParamsError for bad overrides, ValueError for a folder that is something else.
    """
    root = Path(os.path.realpath(root))
    where = Paths(root)
    _check_project_place(where, data, force)
    fixed = [f"seed={seed}", f"dataset.name={dataset}", f"dataset.path={_quoted(str(Path(data).resolve()))}"]
    params = project_defaults([*fixed, *get_source(dataset).recommended, *overrides])
    if where.params.is_file():
        for name, (before, after) in _differences(to_dict(load_params(where.params)), to_dict(params)):
            print(f"fit: {name} was {before}, is {after}")
    write_text(where.params, OmegaConf.to_yaml(OmegaConf.create(to_dict(params))))
    remove_leftovers(where.data)
    return params


def _check_project_place(where: Paths, data: Path, force: bool) -> None:
    """Raises ValueError where `fit` must not write a project: what is there is not one, or holds a finished model."""
    root = where.root
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} must be a folder. Got a file.")
    if root == Path(data).resolve() or root in Path(data).resolve().parents:
        raise ValueError(f"{root} must not hold the data. Got {data}, which lies in it: choose a folder of its own.")
    if root.is_dir() and any(root.iterdir()) and not where.params.is_file():
        raise ValueError(f"{root} must be empty or a BigLearn project. Got a folder without params.yaml.")
    if where.params.is_file() and not made_project(root):
        raise ValueError(
            f"{root} must be empty or a project that `biglearn fit` wrote. Got a params.yaml that is not its own; "
            "choose another folder (`biglearn init` sets the parameters of this repository)."
        )
    if where.generator.is_dir() and not force:
        raise ValueError(f"{root} already holds a trained model; --force trains it anew.")
    place = next(p for p in (root, *root.parents) if p.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{root} must lie where you may write. Got {place}, which you may only read.")


def configure(root: Path, data: Path, overrides: Sequence[str] = ()) -> dict[str, tuple[object, object]]:
    """Sets params.yaml of the project in `root` for the file or folder `data`; the changes, name → (before, after).

    The groups that a recipe is made of become the defaults, then what suits the kind of data, then `overrides`;
    comments and the other groups stay. Raises ValueError without a params.yaml or for data that no source reads,
    ParamsError for bad overrides.
    """
    where, name = Paths(Path(root)), source_name(data)
    if not where.params.is_file():
        raise ValueError(f"{root} must be a folder with params.yaml. Got none.")
    before, source = to_dict(load_params(where.params)), get_source(name)
    place = _quoted(_from_root(where.root, data))
    fixed = [f"dataset.name={name}", f"dataset.path={place}", f"dataset.watch={place}"]
    first = [*fixed, *source.recommended, *overrides]
    suited = source.recommended_for(data, project_defaults(first))
    after = to_dict(project_defaults([*fixed, *source.recommended, *suited, *overrides]))
    changes = dict(_differences({g: before[g] for g in RECIPE_GROUPS}, {g: after[g] for g in RECIPE_GROUPS}))
    text = where.params.read_text(encoding="utf8")
    for key, (_, value) in changes.items():
        text = with_value(text, key, value)
    write_text(where.params, text)
    return changes


def _from_root(root: Path, data: Path) -> str:
    """How the stages, which run in `root`, call the file or folder `data`: relative where it lies below."""
    root, data = root.resolve(), Path(data).resolve()
    return data.relative_to(root).as_posix() if data.is_relative_to(root) and data != root else str(data)


def _differences(before: dict, after: dict, prefix: str = "") -> Iterator[tuple[str, tuple[object, object]]]:
    """(dotted name, (before, after)) of every value that differs; tables of the same names are compared inside."""
    for name, new in after.items():
        old = before[name]
        if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
            yield from _differences(old, new, f"{prefix}{name}.")
        elif new != old:
            yield prefix + name, (old, new)


def with_value(text: str, name: str, value: object) -> str:
    """YAML `text` with the value of the dotted `name` replaced, and comments and all else as they were.

    Raises ValueError when the name is not in it.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in name.split("."):
        pairs = {k.value: v for k, v in node.value} if isinstance(node, yaml.MappingNode) else {}
        if key not in pairs:
            raise ValueError(f"params.yaml must name {name}. Got no {key!r} in it.")
        node = pairs[key]
    new = yaml.safe_dump(value, default_flow_style=True, width=100_000, sort_keys=False, allow_unicode=True)
    new = new.removesuffix("\n").removesuffix("\n...")
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:  # its mark is where the next key begins
        start, end = len(text[:start].rstrip()), len(text[:end].rstrip())
        new = " " + new
    return text[:start] + new + text[end:]


def run_stages(params: Params, root: Path) -> Path:
    """Runs fetch, prepare, tasks and train in the project; the folder of the generator. Raises what they raise.

    The project was made by `fit` for this one model: once it is whole, checkpoints of other tries are removed.
    """
    from pipeline import fetch, prepare, tasks, train  # these load torch and Numba
    from pipeline.base.runs import other_runs, remove_runs

    where = Paths(Path(root).resolve())
    if other_runs(where.checkpoints):
        print("fit: when this model is whole, the checkpoints of other tries in its folder are removed")
    for stage in (fetch, prepare, tasks, train):
        name = stage.__name__.rsplit(".", 1)[-1]
        with stage_lock(name, where):
            stage.run(params, where)
    said = remove_runs(other_runs(where.checkpoints))
    if said:
        print(f"fit: {said}")
    return where.generator


def project_params(root: Path, overrides: Sequence[str] = ()) -> Params:
    """The parameters of the project in `root`. Raises ParamsError."""
    return load_params(Paths(Path(root)).params, overrides)


@contextmanager
def measured_project(root: Path, data: Path | None, overrides: Sequence[str]) -> Iterator[tuple[Params, Paths]]:
    """(parameters, paths) to run the stage evaluate with: those of the project `root` itself where `data` is None.

    Else of a temporary project, gone afterwards, whose held-out rows are those of `data`. For the model of a table
    they are its only rows, so no baseline is fitted. Raises ValueError where there is no trained model.
    """
    model, where = model_folder(root), Paths(Path(root).resolve())
    own = where.params.is_file()
    if data is None and not own:
        raise ValueError(f"{root} must be a project that `biglearn fit` wrote, or come with --data. Got a model alone.")
    params = project_params(root, overrides) if own else project_defaults(["evaluate.baselines=false", *overrides])
    if data is None:
        yield params, where
        return
    from pipeline.exchange.reading import read_rows
    from pipeline.rows.schema import Schema

    rows = read_rows(data, Schema.load(model / "schema.json"))
    with tempfile.TemporaryDirectory(prefix="biglearn-evaluate-") as folder:
        other = Paths(Path(folder))
        for path in (other.tokens, other.models):
            path.mkdir(parents=True)
        os.symlink(model.resolve(), other.generator)
        os.symlink(model.resolve() / "schema.json", other.tokens / "schema.json")
        if own:
            os.symlink(where.tokens / "train.npy", other.tokens / "train.npy")
            os.symlink(where.tokens / "summary.json", other.tokens / "summary.json")
        else:
            write_array(other.tokens / "train.npy", rows)
        write_array(other.tokens / "test.npy", rows)
        yield params, other


def project_defaults(overrides: Sequence[str]) -> Params:
    wrong = [o for o in overrides if "=" not in o]
    if wrong:
        raise ParamsError(f"A parameter must look like group.name=value. Got {wrong[0]!r}.")
    return merge_params({}, overrides)


def _quoted(text: str) -> str:
    """`text` as a YAML string of an override, whatever characters it holds."""
    return "'" + text.replace("'", "''") + "'"
