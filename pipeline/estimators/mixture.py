"""MixtureSampler: networks and a forest, two models of the same tasks, answer as one; the interface of Sampler.

    s = MixtureSampler(schema, networks=(sampler,), forest=forest, pool=pool)
    s.sample(64, seed=0); s.complete(rows, observed=mask, draws=8); s.expect(rows); s.probabilities(rows)

Missing cells of a row are drawn one after the other in random order, each from the mixture given those before it: the
two agree on every single step, and so on the joint draw. Either may be absent. A row's draws are a function of the
seed and of its place alone, whatever the batch size and the number of threads.

Shapes: N rows, C columns, L tokens, F features, K draws.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pipeline.base.files import replaced_folder, write_json, write_text
from pipeline.estimators.pool import RULES, Pool, drawn, narrowed
from pipeline.estimators.questions import Questions
from pipeline.forest.forest import Forest
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.schema import Schema


class MixtureSampler:
    """networks: trained on the same schema, pooled with equal weights; forest: or None; pool: how they are joined;
    network: the parameters of the networks, which `save` writes.

    sharpness: draws come from the central 1 − sharpness of what calibrated draws would come from; 0: honest.
    """

    def __init__(
        self,
        schema: Schema,
        networks: tuple[Sampler, ...],
        forest: Forest | None,
        pool: Pool,
        *,
        network: dict | None = None,
        batch_size: int = 1024,
    ) -> None:
        if not networks and forest is None:
            raise ValueError("a mixture needs a network or a forest. Got neither.")
        self.schema = schema
        self.networks = networks
        self.forest = forest
        self.pool = pool
        self.network = network
        self.batch_size = batch_size
        self.sharpness = 0.0

    @property
    def generator(self) -> Generator | None:
        """The first network's generator, None where the forest is alone."""
        return self.networks[0].generator if self.networks else None

    # -- public draws ------------------------------------------------------------------------------
    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, C) float32 joint samples in the units of the source."""
        if n < 1:
            raise ValueError(f"'n' must be at least 1. Got {n}.")
        shape = (n, len(self.schema.columns))
        return self.complete(np.full(shape, np.nan, np.float32), np.zeros(shape, bool), draws=1, seed=seed)[0]

    def complete(
        self,
        rows: np.ndarray,
        observed: np.ndarray | None = None,
        draws: int = 1,
        seed: int = 0,
        targets: np.ndarray | None = None,
        progress: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """(draws, N, C) float32 draws of x_T | x_S; arguments and errors as those of Sampler.complete."""
        if draws < 1:
            raise ValueError(f"'draws' must be at least 1. Got {draws}.")
        rows, observed = self._checked(rows, observed)
        self._share_threads()
        targets = ~observed if targets is None else _mask(targets, rows, "targets") & ~observed
        out = np.empty((draws, *rows.shape), np.float32)
        for draw in range(draws):
            rng = np.random.default_rng([seed, draw])
            chance = rng.random((3, *rows.shape))  # order, choice, place
            for start in range(0, len(rows), self.batch_size):
                part = slice(start, start + self.batch_size)
                out[draw, part] = self._draw(rows[part], observed[part], targets[part], chance[:, part])
                progress(len(out[draw, part]))
        return np.where(observed, rows, np.where(targets, out, np.float32(np.nan)))

    def expect(
        self, rows: np.ndarray, observed: np.ndarray | None = None, draws: int = 10, seed: int = 0
    ) -> np.ndarray:
        """(N, C) float32 best guess of every cell not observed: the mean of a number, the most probable category.

        Exact, without a draw; `draws` and `seed` are those of Sampler.expect and change nothing."""
        rows, observed = self._checked(rows, observed)
        out, open_rows = rows.copy(), np.flatnonzero(~observed.all(1))
        for start in range(0, len(open_rows), self.batch_size):
            part = open_rows[start : start + self.batch_size]
            out[part] = means(self.schema, self.probabilities(rows[part], observed[part]))
        return np.where(observed, rows, out)

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, F) float64 p(choice of a token | observed cells), at every token not observed, 0 elsewhere; as Sampler's."""
        rows, observed = self._checked(rows, observed)
        self._share_threads()
        words = self._network(rows, observed)
        told = None if self.forest is None else self.forest.probabilities(rows, observed)
        out = np.zeros((len(rows), self.schema.n_features))
        for token in range(self.schema.n_tokens):
            open_rows = np.flatnonzero(~observed[:, self.schema.tokens[token].columns[0]])
            own = slice(self.schema.offsets[token], self.schema.offsets[token + 1])
            both = (None if w is None else w[open_rows, own] for w in (words, told))
            out[open_rows, own] = self.pool.joined(*both, token)
        return out

    def questions(self, rows: np.ndarray) -> Questions:
        """(N, C) rows, NaN where missing, read once to be asked about a few tokens at a time; see Questions."""
        self._share_threads()
        return Questions(self.networks, self.forest, self.pool, rows)

    def networks_alone(self) -> MixtureSampler:
        """The networks without the forest, nothing sharpened; itself where one of the two is alone.

        Trees know the rows that they were grown on by heart: asked about one of those, they expect what is wrong in it."""
        if not self.networks or self.forest is None:
            return self
        pool = Pool.plain(self.schema.n_tokens, 1.0)
        return type(self)(self.schema, self.networks, None, pool, network=self.network, batch_size=self.batch_size)

    # -- inside --------------------------------------------------------------------------------------
    def _share_threads(self) -> None:
        """The forest answers with as many threads as torch computes with."""
        if self.forest is not None:
            self.forest.threads = torch.get_num_threads()

    def _network(self, rows: np.ndarray, observed: np.ndarray, targets: np.ndarray | None = None) -> np.ndarray | None:
        """(N, F) geometric mean of the networks' probabilities, up to a constant factor a token; None: no network."""
        if not self.networks:
            return None
        words = [n.probabilities(rows, observed, targets) for n in self.networks]
        if len(words) == 1:
            return words[0]
        p = np.exp(np.mean([np.log(w.clip(1e-30)) for w in words], axis=0)) * (words[0] > 0)
        total = np.add.reduceat(p, self.schema.offsets[:-1], axis=1)
        return p / np.where(total > 0, total, 1.0)[:, self.schema.token_of_feature]

    def _draw(self, rows: np.ndarray, observed: np.ndarray, targets: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """(n, C) rows with the targets drawn, each row's in an order of its own."""
        rows, known, left = rows.copy(), observed.copy(), targets.copy()
        whole = ~observed.any(1)
        token_column = np.array([t.columns[0] for t in self.schema.tokens])
        while True:
            open_rows = np.flatnonzero(left.any(1))
            if not len(open_rows):
                return rows
            column = np.where(left[open_rows], chance[0, open_rows], 2.0).argmin(1)
            words, seen = self._asked(rows[open_rows], known[open_rows], left[open_rows], column)
            view = None if self.forest is None else self.forest.view(rows[open_rows], seen[:, token_column])
            for token in np.unique(self.schema.token_of_column[column]):
                c = token_column[token]
                index = np.flatnonzero(column == c)
                own = slice(self.schema.offsets[token], self.schema.offsets[token + 1])
                told = None if view is None else self.forest.answer(view, index, int(token))
                words_of = None if words is None else words[index, own]
                at = open_rows[index]
                value = self._value(self.pool, (words_of, told), int(token), chance[1:, at, c])
                if whole[at].any():
                    fresh = self._value(self.pool.unsharpened(), (words_of, told), int(token), chance[1:, at, c])
                    value = np.where(whole[at], fresh, value)
                rows[at, c] = value
            known[open_rows, column], left[open_rows, column] = True, False
            self._settle(rows, left, open_rows, column)

    def _asked(
        self, rows: np.ndarray, known: np.ndarray, left: np.ndarray, column: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """((n, F) words of the networks about `column` (n,) of each row, (n, C) cells that the forest may read)."""
        return self._network(rows, known), known

    def _settle(self, rows: np.ndarray, left: np.ndarray, index: np.ndarray, column: np.ndarray) -> None:
        """Takes from `left` what the cells `column` (n,) just drawn in the rows `index` (n,) leave nothing to draw of."""

    def _value(
        self, pool: Pool, words: tuple[np.ndarray | None, np.ndarray | None], token: int, chance: np.ndarray
    ) -> np.ndarray:
        """(n,) values of `token` drawn from what network and forest say, words (n, K) each or None; a bin's are uniform
        inside it. chance: (2, n) uniform, of the choice and of the place in a bin."""
        t, (choice, place) = self.schema.tokens[token], chance
        p = narrowed(pool.joined(*words, token), float(pool.share[token]) * (1 - self.sharpness), t.binned)
        chosen = drawn(p, choice)
        if not t.binned:
            return chosen.astype(np.float32)
        edges = np.asarray(t.edges)
        return (edges[chosen] + place * (edges[chosen + 1] - edges[chosen])).astype(np.float32)

    def _checked(self, rows: np.ndarray, observed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        rows = self.schema.check_rows(rows).astype(np.float32)
        observed = ~np.isnan(rows) if observed is None else _mask(observed, rows, "observed")
        if np.isnan(rows[observed]).any():
            raise ValueError("'observed' must be False where 'rows' is NaN. Got observed cells without a value.")
        return np.where(observed, rows, np.float32(np.nan)), observed

    # -- files -------------------------------------------------------------------------------------
    def save(self, folder: Path | str, more: dict[str, object] | None = None) -> None:
        """Writes what `load` reads, atomically: the first network at the root, further ones in network_<i>, the forest in
        forest, mixture.json; no pickle. more: file name → further JSON."""
        with replaced_folder(Path(folder)) as fresh:
            for i, one in enumerate(self.networks):
                where = fresh / f"network_{i}" if i else fresh
                Sampler.save(where, one.generator, self.schema, self.network or {}, one.batch_size)
            if self.forest is not None:
                self.forest.save(fresh / "forest")
            write_text(fresh / "schema.json", self.schema.to_json())
            pool = {k: getattr(self.pool, k).tolist() for k in ("weight", "power", "share")}
            mixture = pool | {"rule": self.pool.rule, "networks": len(self.networks), "batch_size": self.batch_size}
            write_json(fresh / "mixture.json", mixture | {"forest": self.forest is not None})
            for name, value in (more or {}).items():
                write_json(fresh / name, value)

    @staticmethod
    def load(folder: Path | str) -> MixtureSampler:
        """The mixture that `save` wrote, or the lone network of a folder without mixture.json.

        Raises ValueError naming a file that is missing or damaged, or does not fit the others."""
        folder, file = Path(folder), Path(folder) / "mixture.json"
        if not file.exists():
            one = Sampler.load(folder)
            plain = Pool.plain(one.schema.n_tokens, 1.0)
            return MixtureSampler(one.schema, (one,), None, plain, network=_network_of(folder))
        try:
            raw = json.loads(file.read_text(encoding="utf8"))
            pool = Pool(*(np.asarray(raw[k], float).reshape(-1) for k in ("weight", "power", "share")), raw["rule"])
            count, size, has_forest = int(raw["networks"]), int(raw["batch_size"]), bool(raw["forest"])
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{file} does not describe a mixture: {error!r}.") from error
        networks = tuple(Sampler.load(folder / f"network_{i}" if i else folder) for i in range(count))
        forest = Forest.load(folder / "forest") if has_forest else None
        schemas = [m.schema for m in (*networks, *([forest] if forest else []))]
        schema = Schema.load(folder / "schema.json")
        sizes = {len(pool.weight), len(pool.power), len(pool.share)}
        fits = all(s == schema for s in schemas) and sizes == {schema.n_tokens} and pool.rule in RULES
        if not fits or not ((pool.share > 0) & (pool.power > 0) & (pool.weight >= 0)).all() or size < 1:
            raise ValueError(f"{file} must fit the networks and the forest beside it. Got another schema or pool.")
        network = _network_of(folder) if networks else None
        return MixtureSampler(schema, networks, forest, pool, network=network, batch_size=size)


def _network_of(folder: Path) -> dict:
    """The network's parameters in config.json, which Sampler.load has checked."""
    return json.loads((folder / "config.json").read_text(encoding="utf8"))["network"]


def means(schema: Schema, probability: np.ndarray) -> np.ndarray:
    """(n, C) mean of each binned number and most probable category, of (n, F) probabilities."""
    out = np.zeros((len(probability), len(schema.columns)), np.float32)
    for i, token in enumerate(schema.tokens):
        own = probability[:, schema.offsets[i] : schema.offsets[i + 1]]
        if token.binned:
            out[:, token.columns[0]] = own @ ((np.asarray(token.edges[:-1]) + np.asarray(token.edges[1:])) / 2)
        else:
            out[:, token.columns[0]] = own.argmax(1)
    return out


def _mask(mask: np.ndarray, rows: np.ndarray, name: str) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != rows.shape or mask.dtype != bool:
        raise ValueError(f"'{name}' must be bool of shape {rows.shape}. Got {mask.dtype} of shape {mask.shape}.")
    return mask
