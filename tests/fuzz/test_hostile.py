"""Files that may come from anywhere: refused in words, never believed about sizes, never run."""

from __future__ import annotations

import ast
import gzip
import io
import json
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.app.tables import keywords
from pipeline.base.fields import ParamsError
from pipeline.base.files import sha256
from pipeline.base.params import load_params
from pipeline.datasets.idx import read_idx
from pipeline.datasets.npz import read_array
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.model.network_files import tensors_from_file
from pipeline.model.sampler import Sampler
from pipeline.rows.schema import Schema
from pipeline.sources.opening import read_frame
from pipeline.tables.codec import TableCodec
from pipeline.tables.dates import DateFormat
from tests.fuzz.target import Target, fault, spoil_bytes, spoil_json
from tests.fuzz.targets import NETWORK, SCHEMA, TABLE, save_model, targets
from tests.helpers.imports import ROOT, module_files

NAMES = (
    "idx",
    "npy",
    "array",
    "npz",
    "png",
    "jpeg",
    "csv",
    "params",
    "override",
    "schema",
    "spec",
    "bank",
    "safetensors",
    "model",
    "dialect",
    "plain_text",
    "json_lines",
    "compressed",
    "workbook",
    "sheet",
    "styles",
    "sqlite",
    "parquet",
    "columns",
    "condition",
    "rule",
    "date_format",
    "address",
    "setting",
    "attributes",
    "imputer",
    "mixture",
    "forest",
)
LIMIT_BYTES = 64 * 2**20


@pytest.fixture(scope="module")
def readers(tmp_path_factory) -> tuple[dict[str, Target], Path]:
    folder = tmp_path_factory.mktemp("hostile")
    return targets(folder), folder


@pytest.mark.filterwarnings("ignore")  # Pillow and pandas may warn about what is then refused
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_spoilt_files_are_refused_in_words(readers, name, seed):
    found, folder = readers
    target, rng = found[name], random.Random(seed)
    payload = rng.choice(target.seeds)
    spoil = spoil_json if target.is_json and rng.random() < 0.7 else spoil_bytes
    place = folder / f"spoilt-{name}"
    place.mkdir(exist_ok=True)
    assert fault(target, spoil(payload, rng), place) == ""


def test_every_target_is_fuzzed_and_reads_what_is_well_formed(readers, tmp_path):
    found, _ = readers
    assert tuple(found) == NAMES
    for name, target in found.items():
        (tmp_path / name).mkdir()
        path = tmp_path / name / target.file_name
        path.write_bytes(target.seeds[0])
        target.read(path)


def npy_saying(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(64)


def bomb_npy(folder: Path) -> None:
    (folder / "x.npy").write_bytes(npy_saying((2**40,)))
    read_array(folder / "x.npy")


def bomb_idx(folder: Path) -> None:
    (folder / "x.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 1)))
    read_idx(folder / "x.gz", 3)


def bomb_idx_that_lies(folder: Path) -> None:
    (folder / "x.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 28, 28) + bytes(100)))
    read_idx(folder / "x.gz", 3)


def bomb_schema(folder: Path) -> None:
    raw = json.loads(SCHEMA.to_json())
    raw["tokens"][-1]["width"] = 2**40
    Schema.from_json(json.dumps(raw))


def bomb_model(folder: Path) -> None:
    save_model(folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text())
    config["network"] |= {"width": 4096, "depth": 64}
    (folder / "model" / "config.json").write_text(json.dumps(config))
    Sampler.load(folder / "model")


def bomb_model_by_schema(folder: Path) -> None:
    save_model(folder / "model")
    raw = json.loads(SCHEMA.to_json())
    raw["tokens"][-1]["width"] = 2**23
    (folder / "model" / "schema.json").write_text(json.dumps(raw))
    config = json.loads((folder / "model" / "config.json").read_text())
    config["schema_sha256"] = sha256(folder / "model" / "schema.json")
    (folder / "model" / "config.json").write_text(json.dumps(config))
    Sampler.load(folder / "model")


def bomb_safetensors(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (folder / "x").write_bytes(struct.pack("<Q", len(header)) + header)
    tensors_from_file(folder / "x")


@pytest.mark.parametrize(
    "bomb",
    [bomb_npy, bomb_idx, bomb_idx_that_lies, bomb_schema, bomb_model, bomb_model_by_schema, bomb_safetensors],
)
def test_a_header_is_not_believed_about_sizes(tmp_path, bomb):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"header|at most|must have|not a valid"):
            bomb(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < LIMIT_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "wording"),
    [
        (
            {"width": 4097},
            r"does not describe a generator: Parameter 'network.width' must lie in \[8, 4096\]. Got 4097",
        ),
        ({"order": "sideways"}, "'network.order' must be one of"),
        ({"colour": 3}, "colour"),
        ({"width": "wide"}, "network.width"),
    ],
)
def test_the_configuration_of_a_model_is_checked_like_parameters(tmp_path, change, wording):
    save_model(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "network": {**vars(NETWORK), **change}}))
    with pytest.raises(ValueError, match=wording):
        Sampler.load(tmp_path / "model")


# What runs code out of a file or a string, or writes where an archive says.
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = (
    "eval(",
    "exec(",
    "os.system(",
    "os.popen(",
    "yaml.load(",
    "torch.save(",
    "__import__(",
    "pd.read_pickle(",
)
FORBIDDEN_METHODS = ("extractall", "to_pickle")


def faults_in(source: str) -> list[str]:
    """Every call and import of `source` that could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            text = ast.unparse(node)
            arguments = {k.arg: ast.unparse(k.value) for k in node.keywords}
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            unsafe = text.startswith(FORBIDDEN_CALLS) or method in FORBIDDEN_METHODS
            unsafe |= arguments.get("allow_pickle") == "True" or arguments.get("shell") == "True"
            unsafe |= text.startswith("torch.load(") and arguments.get("weights_only") != "True"
            unsafe |= text.startswith("np.load(") and arguments.get("allow_pickle") != "False"
            found += [text] if unsafe else []
    return found


def test_nothing_runs_what_a_file_holds():
    files = [*module_files().values(), *sorted((ROOT / "benchmarks").glob("*.py"))]
    assert len(files) > 60
    for path in files:
        assert faults_in(path.read_text(encoding="utf8")) == [], path


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import dump",
        "eval(x)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f, Loader=yaml.Loader)",
        "subprocess.run(c, shell=True)",
        "tarfile.open(f).extractall('.')",
    ],
)
def test_the_scan_finds_what_it_looks_for(source):
    assert faults_in(source)


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("a: &a [x]\nb: *a\n", r"without YAML aliases \(\*name\)\. Got one"),
        ("a: " + "x" * 2**20, "at most 1048576 characters"),
    ],
)
def test_parameters_cannot_grow_when_they_are_read(tmp_path, text, wording):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=wording):
        load_params(tmp_path / "params.yaml")


def test_an_override_that_is_no_yaml_is_named():
    with pytest.raises(ParamsError, match=r"must look like group\.name=value\. Got \['train\.lr=\{'\]"):
        load_params(overrides=["train.lr={"])


def test_descriptions_of_columns_that_do_not_fit_their_tokens_are_refused():
    raw = json.loads(TABLE.to_json())
    for change in (lambda t: t.pop(), lambda t: t[1].update(levels=["x"]), lambda t: t[0].update(quantiles=["a"])):
        spoilt = json.loads(json.dumps(raw))
        change(spoilt["table"])
        with pytest.raises(ValueError, match="must describe its columns|must fit its token|must be finite numbers"):
            _ = TableCodec(Schema.from_json(json.dumps(spoilt))).modelled


@pytest.mark.parametrize("text", ["kinds={", "kinds=\x00", "steps=[1"])
def test_a_setting_that_is_no_yaml_is_named(text):
    with pytest.raises(ParamsError, match="A setting must look like name=value"):
        keywords([text])


def test_a_date_format_names_each_part_once():
    with pytest.raises(ValueError, match="must name each part of a date once. Got '%d.%-d.%Y': d"):
        DateFormat("%d.%-d.%Y")


def test_a_zip_with_a_password_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.csv.zip", "w") as archive:
        archive.writestr("y.csv", "a,b\n1,2\n")
    payload = bytearray((tmp_path / "x.csv.zip").read_bytes())
    payload[6] |= 1  # both headers say that it is encrypted
    payload[payload.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.csv.zip").write_bytes(payload)
    with pytest.raises(ValueError, match=r"x.csv.zip: must be a plain zip. Got 'y.csv': .*password"):
        read_frame(tmp_path / "x.csv.zip", tell=str)


@pytest.mark.parametrize(
    "change", [{"spread": "wide"}, {"rules": 1}, {"bins": None}, {"n_jobs": "all"}, {"strategy": []}, {"colour": 1}]
)
def test_the_settings_of_a_saved_imputer_are_checked(tmp_path, change):
    settings = BigLearnImputer().get_params() | change
    fitted = {
        "columns": ["a"],
        "labels": ["a"],
        "library": "pandas",
        "axis_names": [None],
        "held_out": [],
        "best_step": 0,
    }
    (tmp_path / "imputer.json").write_text(json.dumps({"settings": settings, "fitted": fitted}))
    with pytest.raises(ValueError, match="imputer.json does not describe an imputer|must be one of"):
        BigLearnImputer.load(tmp_path)
