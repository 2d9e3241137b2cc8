"""Every reader of files that may come from anywhere, each with well-formed bytes to start from."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from kernels.task_sampling import TaskBank, TaskSpec, write_bank
from pipeline.base.data_groups import TableParams, TasksParams
from pipeline.base.model_groups import NetworkParams
from pipeline.base.params import load_params, merge_params
from pipeline.datasets import npz
from pipeline.datasets.idx import read_idx
from pipeline.datasets.image_files import fit_pixels, open_image
from pipeline.datasets.npz import read_array
from pipeline.datasets.table import read_table
from pipeline.exchange.reading import read_rows
from pipeline.model.generator import Generator
from pipeline.model.network_files import tensors_from_file, tensors_to_bytes
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.row_file import chunks
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.rows.tokens import Token
from pipeline.tables.describing import Wishes, describe
from tests.fuzz.table_targets import table_targets
from tests.fuzz.target import Target, in_folder

SCHEMA = image_label_schema(4, 4, 1, 2, 0.0, 16.0, ["a", "b", "c"])
TABLE = Schema(
    (
        Token("n", "numeric", "n", (0,), 2, edges=(0.0, 1.0, 2.0), mass=(0.5, 0.5)),
        Token("c", "categorical", "c", (1,), 2, mass=(0.25, 0.75)),
    ),
    ("n", "c"),
    categories={"c": ["x", "y"]},
    table=tuple(
        describe(name, pd.Series(cells), Wishes()).to_json()
        for name, cells in {"n": [0.5, 1.5], "c": ["x", "y"]}.items()
    ),
)
NETWORK = NetworkParams(width=8, depth=1, heads=1, noise_width=4)


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _image_bytes(suffix: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3)).astype(np.uint8)
    return _bytes_of(lambda out: Image.fromarray(pixels).save(out, suffix))


def save_model(folder: Path) -> None:
    torch.manual_seed(0)
    Sampler.save(folder, Generator(SCHEMA, NETWORK), SCHEMA, vars(NETWORK), 16)


def _save_bank(folder: Path) -> None:
    write_bank(folder, spec_from_schema(TasksParams(), SCHEMA), 40, 3)


def _saved(prepare: Callable[[Path], object], file_name: str, scratch: Path) -> bytes:
    prepare(scratch)
    return (scratch / file_name).read_bytes()


def _idx() -> bytes:
    return gzip.compress(b"\0\0\x08\x03" + np.array([3, 4, 5], ">u4").tobytes() + bytes(60))


def _read_bank(folder: Path) -> object:
    TaskBank.verify(folder)
    return TaskBank.open(folder).pairs(np.arange(40))


def _read_image(path: Path) -> object:
    return fit_pixels(open_image(path), 8, 8, 3)


def _read_override(path: Path) -> object:
    return merge_params({}, [path.read_text(encoding="utf8")])


def _array_file_reader(file_name: str) -> Callable[[Path], object]:
    """Reads a user's own array as stage prepare does: in chunks, with a schema made of its shape and range."""
    params = merge_params({"dataset": {"name": "npz", "path": file_name}})

    def read(path: Path) -> object:
        data = npz.load(path.parent, params)
        return [data.schema.check_rows(part) for part in chunks(data.train)]

    return read


def targets(scratch: Path) -> dict[str, Target]:
    """Name → target. scratch: an empty folder."""
    npy = _bytes_of(lambda out: np.save(out, np.zeros((3, 17), np.float32)))
    pixels = _bytes_of(lambda out: np.save(out, np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3)))
    archive = _bytes_of(lambda out: np.savez_compressed(out, x=np.zeros((3, 17)), y=np.arange(3)))
    spec = spec_from_schema(TasksParams(), SCHEMA).to_json().encode()
    schemas = (SCHEMA.to_json().encode(), TABLE.to_json().encode())
    csv = b"n,c\n1.5,x\n,y\n0.25,\n"
    tensors = tensors_to_bytes({"a": torch.zeros(3, 2), "b": torch.ones(4, dtype=torch.int64)})
    bank_json = _saved(_save_bank, "bank.json", scratch / "bank")
    config = _saved(save_model, "config.json", scratch / "model")
    return {
        "idx": Target("x.gz", (_idx(), gzip.decompress(_idx())), lambda p: read_idx(p, 3)),
        "npy": Target("x.npy", (npy,), lambda p: read_rows(p, SCHEMA)),
        "array": Target("x.npy", (npy, pixels), _array_file_reader("x.npy")),
        "npz": Target("x.npz", (archive,), lambda p: (read_array(p), read_array(p, "y"))),
        "png": Target("x.png", (_image_bytes("PNG"), _image_bytes("GIF"), _image_bytes("TIFF")), _read_image),
        "jpeg": Target("x.jpg", (_image_bytes("JPEG"), _image_bytes("WEBP"), _image_bytes("BMP")), _read_image),
        "csv": Target("x.csv", (csv,), lambda p: (read_table(p, TableParams()), read_rows(p, TABLE))),
        "params": Target(
            "params.yaml", (b"seed: 1\ntrain: {steps: 5, lr: 0.1}\ntasks:\n  weights: {joint: 1}\n",), load_params
        ),
        "override": Target("x", (b"train.lr=0.1", b"tasks.weights={joint: 1}"), _read_override),
        "schema": Target("schema.json", schemas, Schema.load, is_json=True),
        "spec": Target("spec.json", (spec,), lambda p: TaskSpec.from_json(p.read_text(encoding="utf8")), is_json=True),
        "bank": Target("bank.json", (bank_json,), in_folder("bank.json", _save_bank, _read_bank), is_json=True),
        "safetensors": Target("x.safetensors", (tensors,), tensors_from_file),
        "model": Target("config.json", (config,), in_folder("config.json", save_model, Sampler.load), is_json=True),
    } | table_targets(scratch)
