"""Questions to a network about a few tokens of many rows: the passes of `Sampler.probabilities`, and only what they need.

    ask = Questions(sampler, rows)              # rows are read once
    p, q = ask.told(index, seen, (3, 5))        # p(x_3 | x_S), p(x_5 | x_S) of the rows `index`, S the tokens seen

The same numbers as `probabilities` up to rounding. Values are embedded once, however often they are asked about; in the
last block only the asked tokens ask, and only their heads speak. Blocks of rows stay in the cache of a core, and go to as
many threads as torch computes with. No row's answer depends on the others, nor on the number of threads.

Shapes: N rows, n rows of a question, L tokens, W model width, K choices of a token.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kernels.task_sampling import SOURCE, TARGET
from pipeline.model.sampler import Sampler
from pipeline.model.transformer import Block

BLOCK_ROWS = 192
TABLE_ROWS = 4096  # of the table filled at a time


class Questions:
    """sampler: of order one_by_one, all of whose tokens are choices. rows: (N, C) in source units, NaN where missing."""

    @torch.inference_mode()
    def __init__(self, sampler: Sampler, rows: np.ndarray) -> None:
        self.schema, self.generator = sampler.schema, sampler.generator
        body = self.generator.body
        self.device = body.cls.device
        self.cells = np.flatnonzero([not t.gap_of for t in self.schema.tokens])  # the tokens in their places
        features = torch.from_numpy(self.schema.encode(rows)).to(self.device)
        every = torch.ones(len(rows), self.schema.n_tokens, dtype=torch.bool, device=self.device)
        known = body.embed_values(features, every) + body.position + body.role[SOURCE]
        asked = body.position + body.role[TARGET]
        gap = self.schema.gap_tokens[self.cells]
        self.has_gaps = bool((gap >= 0).any())
        place, instead = (torch.from_numpy(x).to(self.device) for x in (self.cells, np.where(gap < 0, self.cells, gap)))
        parts = (known[:, place].flatten(0, 1), asked[instead], asked[place], body.cls.view(1, -1))
        self.first = body.blocks[0] if len(body.blocks) > 1 else None
        self.table = self._table(parts)
        groups = enumerate(self.schema.groups)
        self.head_of = {t: self.generator.heads[i] for i, group in groups for t in group.tokens}

    def _table(self, parts: tuple[Tensor, ...]) -> Tensor:
        """(N L + 2 L + 1, W or 4 W): each cell as it is known, each column not known, each asked about, CLS; and, beside each,
        what the first block reads of it alone where that block has all tokens ask. One table, for one gather a question."""
        width = parts[-1].shape[-1]
        out = parts[-1].new_empty(sum(map(len, parts)), width if self.first is None else 4 * width)
        torch.cat(parts, out=out[:, :width])
        if self.first is not None:
            for start in range(0, len(out), TABLE_ROWS):
                own = out[start : start + TABLE_ROWS]
                own[:, width:] = self.first.query_key_value(self.first.attention_norm(own[:, :width]))
        return out

    def told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        """(n, K) float64 probabilities of each of `tokens` in the rows `index` (n,), given the tokens seen (n, L) there.

        Every token that is not seen counts as asked, as in `probabilities`; those of `tokens` are to be among them. Where a
        schema has gap tokens, that a cell is asked says that it is known, so one is asked at a time, and in the place of others
        that are not seen stands the question whether they are missing.
        """
        if self.has_gaps and len(tokens) > 1:
            return [self.told(index, seen, (t,))[0] for t in tokens]
        out = [np.empty((len(index), self.schema.tokens[t].width)) for t in tokens]
        threads = torch.get_num_threads()
        starts = range(0, len(index), BLOCK_ROWS)

        def answer(start: int) -> None:
            part = slice(start, start + BLOCK_ROWS)
            for own, told in zip(out, self._told(index[part], seen[part], tokens), strict=True):
                own[part] = told

        if threads == 1 or len(starts) == 1 or self.device.type != "cpu":
            for start in starts:
                answer(start)
            return out
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(answer, starts))
        torch.set_num_threads(threads)  # new threads of torch would take over the 1 of these
        return out

    @torch.inference_mode()
    def _told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        """`told` of at most BLOCK_ROWS rows; fewer are filled up, for sums of other sizes are rounded in other ways."""
        body, n = self.generator.body, len(index)
        filled = np.arange(BLOCK_ROWS).clip(max=n - 1)
        places, width = np.searchsorted(self.cells, tokens), body.cls.shape[-1]
        entries = torch.from_numpy(self._entries(index[filled], seen[filled], places)).to(self.device)
        x = self.table.index_select(0, entries.flatten()).view(*entries.shape, -1)
        x, qkv = (x, None) if self.first is None else (x[..., :width], x[..., width:])
        for block in body.blocks[:-1]:
            x, qkv = after_block(block, x, qkv=qkv), None
        asked = torch.from_numpy(places + 1).to(self.device)  # CLS stands first
        x = body.norm(after_block(body.blocks[-1], x, asked=asked))
        return [self._choices(x[:, i], t)[:n].double().cpu().numpy() for i, t in enumerate(tokens)]

    def _entries(self, rows: np.ndarray, seen: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(n, L + 1) entries of the table: CLS, then each token as it is known, not known, or asked about at `places` (k,)."""
        each, size = np.arange(len(self.cells)), len(self.cells)
        other = len(self.table) - 1 - 2 * size + each
        other[places] += size
        out = np.full((len(rows), size + 1), len(self.table) - 1)
        out[:, 1:] = np.where(seen[:, self.cells], rows[:, None] * size + each, other)
        return out

    def _choices(self, x: Tensor, token: int) -> Tensor:
        """(n, K) probabilities of the choices of a token, of its (n, W) output."""
        g, own = self.generator, slice(int(self.schema.offsets[token]), int(self.schema.offsets[token + 1]))
        raw = self.head_of[token](x)
        return (raw if g.log_mass is None else raw * g.trust[token] + g.log_mass[own]).softmax(-1)


def after_block(block: Block, x: Tensor, *, qkv: Tensor | None = None, asked: Tensor | None = None) -> Tensor:
    """(n, T, W) tokens after a block in which all see all, of (n, T, W). qkv: (n, T, 3W) of x where it is known already.
    asked: (k,) the tokens wanted, (n, k, W); None: all."""
    n, t, width = x.shape
    layer = block.query_key_value
    if asked is None:
        qkv = layer(block.attention_norm(x)) if qkv is None else qkv
        q, k, v = qkv.view(n, t, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
    else:
        normed, x = block.attention_norm(x), x[:, asked]
        q = functional.linear(normed[:, asked], layer.weight[:width], layer.bias[:width])
        q = q.view(n, len(asked), block.heads, -1).transpose(1, 2)
        both = functional.linear(normed, layer.weight[width:], layer.bias[width:])
        k, v = both.view(n, t, 2, block.heads, -1).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = block.attention_out(mixed).add_(x)  # into memory that is at hand
    return block.mlp_out(functional.gelu(block.mlp_in(block.mlp_norm(x)))).add_(x)
