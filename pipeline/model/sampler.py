"""Samples any part of a row from any other part, with a trained generator.

    s = Sampler.load("data/models/generator")
    rows = s.sample(64, seed=0)                                 # joint
    draws = s.complete(rows, observed=mask, draws=8, seed=0)    # conditional: (8, N, C)
    part = s.complete(rows, observed=none, targets=some)        # marginal: cells outside are NaN
    best = s.expect(rows, observed=mask)                        # (N, C): means and most probable categories

Shapes: N rows, C columns, L tokens, F features, K draws.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.base.fields import ParamsError
from pipeline.base.model_groups import NetworkParams
from pipeline.base.params import merge_params
from pipeline.model import forks  # noqa: F401  a forked child must not wait for this process's threads
from pipeline.model.context import HIDDEN as HIDDEN_WIDTH
from pipeline.model.generator import Generator
from pipeline.model.network_files import load_state, read_network, save_network
from pipeline.rows.bins import stretches
from pipeline.rows.schema import Schema
from pipeline.rows.votes import most_frequent


class Sampler:
    """A trained generator with its schema. batch_size: rows per forward pass."""

    def __init__(self, generator: Generator, schema: Schema, *, batch_size: int = 512) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.schema = schema
        self.batch_size = batch_size

    @staticmethod
    def load(folder: Path | str, device: str = "cpu") -> Sampler:
        """The sampler saved in `folder` (model.safetensors, config.json, schema.json).

        Raises ValueError when a file is missing or damaged, or does not fit the others.
        """
        state, config, schema = read_network(Path(folder))
        try:
            checked = merge_params({"network": config["network"], "sample": {"batch_size": config["batch_size"]}})
        except (KeyError, TypeError, ParamsError) as error:
            raise ValueError(f"{Path(folder) / 'config.json'} does not describe a generator: {error}.") from error
        _check_sizes(state, schema, checked.network, str(folder))
        generator, batch_size = Generator(schema, checked.network), checked.sample.batch_size
        load_state(generator, state, str(folder))
        return Sampler(generator.to(device), schema, batch_size=batch_size)

    @staticmethod
    def save(folder: Path, generator: Generator, schema: Schema, network: dict, batch_size: int) -> None:
        """Writes what `load` reads, atomically."""
        save_network(folder, generator, {"network": network, "batch_size": batch_size}, schema)

    # -- public draws ------------------------------------------------------------------------------
    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, C) float32 joint samples in the units of the source."""
        if n < 1:
            raise ValueError(f"'n' must be at least 1. Got {n}.")
        shape = (n, len(self.schema.columns))
        rows = np.full(shape, np.nan, np.float32)
        return self.complete(rows, observed=np.zeros(shape, bool), draws=1, seed=seed)[0]

    def complete(
        self,
        rows: np.ndarray,
        observed: np.ndarray | None = None,
        draws: int = 1,
        seed: int = 0,
        targets: np.ndarray | None = None,
        progress: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """(draws, N, C) float32 draws of x_T | x_S; observed cells come back unchanged, cells in neither are NaN.

        rows: (N, C) in source units, NaN where unknown. observed: (N, C) bool, the cells of S; None: every cell that
        is not NaN. targets: (N, C) bool, the cells of T; None: every cell not observed. A token observed in part is
        drawn whole, and its observed cells are put back. progress: called with the rows of each forward pass.
        Raises ValueError for shapes that do not match and for observed cells that are NaN.
        """
        if draws < 1:
            raise ValueError(f"'draws' must be at least 1. Got {draws}.")
        rows = self.schema.check_rows(rows).astype(np.float32)
        observed = ~np.isnan(rows) if observed is None else _checked_mask(observed, rows, "observed")
        if np.isnan(rows[observed]).any():
            raise ValueError("'observed' must be False where 'rows' is NaN. Got observed cells without a value.")
        targets = ~observed if targets is None else _checked_mask(targets, rows, "targets") & ~observed
        role = self._roles(observed, targets)
        features = torch.from_numpy(self.schema.encode(np.where(observed, rows, np.nan)))
        out = np.empty((draws, *rows.shape), np.float32)
        device = self.generator.token_of_feature.device
        noise = torch.Generator(device=device).manual_seed(seed)
        for draw in range(draws):
            for start in range(0, len(rows), self.batch_size):
                part = slice(start, start + self.batch_size)
                drawn = self._draw(features[part].to(device), torch.from_numpy(role[part]).to(device), noise)
                out[draw, part] = self.schema.decode(drawn.cpu().numpy())
                progress(len(drawn))
        out = np.where(observed, rows, out)
        hidden = ~observed & (role == HIDDEN)[:, self.schema.token_of_column]
        return np.where(hidden, np.float32(np.nan), out)

    def expect(
        self, rows: np.ndarray, observed: np.ndarray | None = None, draws: int = 10, seed: int = 0
    ) -> np.ndarray:
        """(N, C) float32 best guess of every cell not observed: the mean of a number, the most probable category.

        A generator of order one_by_one gives them exactly, in one pass without a draw; any other averages `draws`
        draws from `seed`. rows, observed: as in `complete`. Raises as `complete` does.
        """
        if self.generator.order != "one_by_one":
            drawn = self.complete(rows, observed, draws, seed)
            out = drawn.mean(0)
            for i in self.schema.tokens_of("categorical"):
                column = self.schema.tokens[i].columns[0]
                out[:, column] = most_frequent(drawn[..., column].astype(np.int64))
            return np.where(np.isnan(rows) if observed is None else ~observed, out, rows)
        rows = self.schema.check_rows(rows).astype(np.float32)
        observed = ~np.isnan(rows) if observed is None else _checked_mask(observed, rows, "observed")
        out, open_rows = rows.copy(), np.flatnonzero(~observed.all(1))
        for start in range(0, len(open_rows), self.batch_size):
            part = open_rows[start : start + self.batch_size]
            out[part] = self._means(self.probabilities(rows[part], observed[part]))
        return np.where(observed, rows, out)

    @torch.inference_mode()
    def probabilities(
        self, rows: np.ndarray, observed: np.ndarray | None = None, targets: np.ndarray | None = None
    ) -> np.ndarray:
        """(N, F) float64 p(choice of a token | observed cells), at every target, 0 elsewhere; F features.

        For a generator of order one_by_one, whose tokens are all choices: exact, one pass, no draw. rows, observed,
        targets: as in `complete`. Raises as `complete` does, and ValueError for any other order.
        """
        if self.generator.order != "one_by_one":
            raise ValueError(f"'network.order' must be one_by_one for probabilities. Got {self.generator.order}.")
        rows = self.schema.check_rows(rows).astype(np.float32)
        observed = ~np.isnan(rows) if observed is None else _checked_mask(observed, rows, "observed")
        role = self._roles(
            observed, ~observed if targets is None else _checked_mask(targets, rows, "targets") & ~observed
        )
        features = self.schema.encode(np.where(observed, rows, np.nan))
        device = self.generator.token_of_feature.device
        out = np.empty((len(rows), self.schema.n_features))
        for start in range(0, len(rows), self.batch_size):
            part = slice(start, start + self.batch_size)
            given = torch.from_numpy(features[part]).to(device), torch.from_numpy(role[part]).to(device)
            out[part] = self.generator.probabilities(self.generator.logits(*given)).double().cpu().numpy()
        return np.where((role == TARGET)[:, self.schema.token_of_feature], out, 0.0)

    # -- inside --------------------------------------------------------------------------------------
    def _roles(self, observed: np.ndarray, targets: np.ndarray) -> np.ndarray:
        source = self.schema.observed_tokens(observed)
        target = np.zeros_like(source)
        n, c = np.nonzero(targets)
        target[n, self.schema.token_of_column[c]] = True
        return np.where(source, SOURCE, np.where(target, TARGET, HIDDEN)).astype(np.uint8)

    @torch.inference_mode()
    def _draw(self, features: Tensor, role: Tensor, noise: torch.Generator) -> Tensor:
        """(n, F) features with every target drawn; a category is read off as the largest of its features."""
        if not bool((role == TARGET).any()):
            return features
        if self.generator.order == "one_by_one":
            return self._draw_one_by_one(features, role, noise)
        if self.generator.order == "categorical_first" and self.generator.choice_passes > 1:
            features, role = self._draw_choices_in_passes(features, role, noise)
        return self.generator(features, role, noise).features

    def _draw_one_by_one(self, features: Tensor, role: Tensor, noise: torch.Generator) -> Tensor:
        """(n, F) features with the targets of each row drawn in an order of its own, each given those before it."""
        features, role = features.clone(), role.clone()
        key = torch.rand(role.shape, generator=noise, device=role.device)
        while True:
            left = (role == TARGET).any(1).nonzero()[:, 0]
            if not len(left):
                return features
            some_features, some_role = features[left], role[left]
            drawn = self.generator(some_features, some_role, noise).features
            next_token = torch.where(some_role == TARGET, key[left], 2.0).argmin(1, keepdim=True)
            new = self.generator.token_of_feature[None] == next_token
            features[left] = torch.where(new, drawn, some_features)
            role[left] = some_role.scatter(1, next_token, SOURCE)

    def _draw_choices_in_passes(self, features: Tensor, role: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """(features, roles) in which the categories are drawn and sources: in random order, a share of them a pass,
        each given those of the passes before."""
        g = self.generator
        chosen = (role == TARGET) & g.discrete
        count = chosen.sum(1, keepdim=True)
        key = torch.rand(role.shape, generator=noise, device=role.device)
        place = torch.where(chosen, key, 2.0).argsort(1).argsort(1)
        passes = min(g.choice_passes, int(count.max()))
        asked = torch.where(chosen | (role == SOURCE), role, HIDDEN)
        for k in range(passes):
            now = chosen & (place >= count * k // passes) & (place < count * (k + 1) // passes)
            drawn = g(features, asked, noise).features
            features = torch.where(now[:, g.token_of_feature], drawn, features)
            asked, role = torch.where(now, SOURCE, asked), torch.where(now, SOURCE, role)
        return features, role

    def _means(self, probability: np.ndarray) -> np.ndarray:
        """(n, C) mean of each binned number and most probable category, of (n, F) probabilities.

        Where wide gaps part a number's values, the mean is that of its most probable stretch: an outlier, or a mark such
        as −999, does not move the others' mean into the gap.
        """
        out = np.zeros((len(probability), len(self.schema.columns)), np.float32)
        for i, token in enumerate(self.schema.tokens):
            own = probability[:, self.schema.offsets[i] : self.schema.offsets[i + 1]]
            if token.binned:
                middle = (np.asarray(token.edges[:-1]) + np.asarray(token.edges[1:])) / 2
                part = stretches(np.asarray(token.edges), np.asarray(token.mass)) if token.mass else np.zeros(1, int)
                if part[-1]:
                    shares = np.stack([own[:, part == k].sum(1) for k in range(part[-1] + 1)], 1)
                    own = own * (part[None] == shares.argmax(1)[:, None])
                    own = own / own.sum(1, keepdims=True)
                out[:, token.columns[0]] = own @ middle
            else:
                out[:, token.columns[0]] = own.argmax(1)
        return out


def _check_sizes(state: dict[str, Tensor], schema: Schema, network: NetworkParams, what: str) -> None:
    """Raises ValueError when the tensors have other sizes than schema and config say: asked before any is allocated."""
    width, last = network.width, network.depth - 1
    wanted = {
        "body.position": (schema.n_tokens, width),
        "token_noise.weight": (width, network.noise_width),
        f"body.blocks.{last}.mlp_in.weight": (int(width * network.mlp_ratio), width),
    }
    wanted |= {f"body.embed.{i}.weight": (width, group.width) for i, group in enumerate(schema.groups)}
    if network.convolution_channels and schema.image is not None:
        wanted["refinement.second.weight"] = (network.convolution_channels, network.convolution_channels, 3, 3)
    if not all(t.discrete for t in schema.tokens):
        inputs = schema.n_features + schema.n_tokens + network.noise_width
        wanted["context.first.weight"] = (HIDDEN_WIDTH, inputs)
    for name, shape in wanted.items():
        found = tuple(state[name].shape) if name in state else None
        if found != shape:
            raise ValueError(f"{what}: '{name}' must have shape {shape}, as schema and config say. Got {found}.")


def _checked_mask(mask: np.ndarray, rows: np.ndarray, name: str) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != rows.shape or mask.dtype != bool:
        raise ValueError(f"'{name}' must be bool of shape {rows.shape}. Got {mask.dtype} of shape {mask.shape}.")
    return mask
