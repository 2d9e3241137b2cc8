"""The sampler of any model that `fit` wrote: a network of images or text, or of a table network, forest and rules together.

Shapes: N rows, C columns, K draws.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.app.project import model_folder
from pipeline.app.tables import load_imputer

Array = np.ndarray


def open_sampler(model: Path, device: str = "cpu") -> Any:
    """What draws from the model in `model`, with the interface of Sampler. Raises ValueError where there is none."""
    model = Path(model)
    if (model / "imputer.json").is_file():  # of a table: the network is one part of it, and may be absent
        imputer = load_imputer(model)
        for network in imputer.sampler_.networks:
            network.generator.to(device)
        if hasattr(imputer.sampler_, "reads_gaps"):  # what is not given here is not known, which says nothing
            imputer.sampler_.reads_gaps = False
        return RuledSampler(imputer) if imputer.rules else imputer.sampler_
    from pipeline.model.sampler import Sampler

    return Sampler.load(model_folder(model), device)


class RuledSampler:
    """The sampler of an imputer with rules: what it draws keeps them."""

    def __init__(self, imputer: Any) -> None:
        self.imputer, self.schema = imputer, imputer.codec_.schema

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, C) new rows."""
        return self.complete(np.full((n, len(self.schema.columns)), np.nan, np.float32), seed=seed)[0]

    def complete(
        self, rows: Array, observed: Array | None = None, draws: int = 1, seed: int = 0, targets: Array | None = None,
        progress: Callable[[int], object] = int,
    ) -> Array:  # fmt: skip
        """(draws, N, C) draws; arguments as those of Sampler.complete. With targets, the other cells are drawn and left out."""
        import pandas as pd

        observed = ~np.isnan(rows) if observed is None else observed
        codec = self.imputer.codec_
        frame = codec.frame(np.where(observed, rows, np.nan).astype(np.float32))
        for column in codec.columns:  # not modelled, but part of the table
            if column.name not in frame.columns:
                frame[column.name] = pd.Series([None] * len(frame), dtype=object)
        drawn = self.imputer.sample(frame, draws, seed)
        progress(draws * len(rows))
        out = np.where(observed, rows, np.stack([codec.rows(table) for table in drawn]))
        return out if targets is None else np.where(observed | targets, out, np.float32(np.nan))
