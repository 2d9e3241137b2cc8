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
        own = known[:, place], asked[instead], asked[place]  # (N, L, W) known; (L, W) not known; (L, W) asked about
        self.tokens = *own, body.cls
        self.first = None
        if len(body.blocks) > 1:  # what the first block reads of each token alone
            block = body.blocks[0]
            self.first = tuple(block.query_key_value(block.attention_norm(x)) for x in self.tokens)
        groups = enumerate(self.schema.groups)
        self.head_of = {t: self.generator.heads[i] for i, group in groups for t in group.tokens}

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
        rows = torch.from_numpy(index[filled]).to(self.device)
        places = np.searchsorted(self.cells, tokens)
        known = torch.from_numpy(seen[filled][:, self.cells]).to(self.device)[..., None]
        x = _row(self.tokens, rows, known, places)
        qkv = None if self.first is None else _row(self.first, rows, known, places)
        for block in body.blocks[:-1]:
            x, qkv = after_block(block, x, qkv=qkv), None
        asked = torch.from_numpy(places + 1).to(self.device)  # CLS stands first
        x = body.norm(after_block(body.blocks[-1], x, asked=asked))
        return [self._choices(x[:, i], t)[:n].double().cpu().numpy() for i, t in enumerate(tokens)]

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
    x = x + block.attention_out(mixed)
    return x + block.mlp_out(functional.gelu(block.mlp_in(block.mlp_norm(x))))


def _row(parts: tuple[Tensor, ...], rows: Tensor, known: Tensor, places: np.ndarray) -> Tensor:
    """(n, L + 1, V): CLS, then each token as it is known (n, L, 1), not known, or asked about at `places` (k,)."""
    values, other, asked, cls = parts
    other = other.clone()
    other[places] = asked[places]
    tokens = torch.where(known, values[rows], other)
    return torch.cat([cls.expand(len(tokens), 1, -1), tokens], 1)
