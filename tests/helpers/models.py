"""A small untrained model of digits on disk."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from pipeline.base.model_groups import NetworkParams
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema

NETWORK = NetworkParams(width=8, depth=1, heads=1, noise_width=4)
DIGITS = image_label_schema(8, 8, 1, 2, 0.0, 16.0, [str(d) for d in range(10)])


def save_model(folder: Path, schema: Schema) -> Path:
    torch.manual_seed(0)
    Sampler.save(folder, Generator(schema, NETWORK), schema, asdict(NETWORK), 64)
    return folder
