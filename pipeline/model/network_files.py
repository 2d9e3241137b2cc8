"""A network on disk: a folder with model.safetensors, config.json and schema.json. No pickle anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from pipeline.base.files import check_sha256, replaced_folder, sha256, write_bytes, write_json, write_text
from pipeline.rows.schema import Schema

DIGESTS = {"model.safetensors": "model_sha256", "schema.json": "schema_sha256"}  # file → key in config.json


def tensors_to_bytes(tensors: dict[str, Tensor]) -> bytes:
    """safetensors bytes of `tensors` (moved to the CPU; views are copied, since the format forbids sharing)."""
    return save_tensors({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()})


def tensors_from_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises ValueError naming the file when it is not one."""
    try:
        return load_tensors(Path(path).read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is not a valid safetensors file: {error}") from error


def save_network(folder: Path, network: nn.Module, config: dict, schema: Schema) -> None:
    """Writes the folder atomically: the old one stays until the new one is complete."""
    with replaced_folder(folder) as fresh:
        write_bytes(fresh / "model.safetensors", tensors_to_bytes(network.state_dict()))
        write_text(fresh / "schema.json", schema.to_json())
        digests = {key: sha256(fresh / name) for name, key in DIGESTS.items()}
        write_json(fresh / "config.json", {**config, **digests})


def read_network(folder: Path) -> tuple[dict[str, Tensor], dict, Schema]:
    """(state dict, config, schema) of a saved network. Raises ValueError when a part is missing or damaged."""
    folder = Path(folder)
    for name in ("model.safetensors", "config.json", "schema.json"):
        if not (folder / name).is_file():
            raise ValueError(f"'folder' must hold a saved model. Got {folder}, which has no {name}.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf8"))
        digests = {name: config[key] for name, key in DIGESTS.items()}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / 'config.json'} is not valid JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'config.json'} does not describe a saved model: {error!r}.") from error
    for name, digest in digests.items():
        check_sha256(folder / name, digest)
    schema = Schema.load(folder / "schema.json")
    return tensors_from_file(folder / "model.safetensors"), config, schema


def load_state(network: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Copies `state` into `network`. Raises ValueError when names or shapes differ."""
    own = network.state_dict()
    if own.keys() != state.keys():
        raise ValueError(f"{what}: tensor names differ: {sorted(own.keys() ^ state.keys())[:6]}.")
    with torch.no_grad():
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise ValueError(f"{what}: '{name}' must have shape {tuple(tensor.shape)}. Got {state[name].shape}.")
            tensor.copy_(state[name])
