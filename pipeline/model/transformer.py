"""The universal transformer that is the body of both networks.

Tokens of a sample, in the order of its schema, are preceded by one CLS token. Role says what a token
is in the task (S, T): hidden (marginalised: it is packed away and costs nothing), source or target.
Rank restricts attention: token i sees token j iff rank[j] <= rank[i] (all zero: bidirectional).

Shapes: B rows, L tokens, F features, M visible tokens of the batch (CLS included), W model width,
H heads, D head dimension.
Source: arXiv 2407.21319, section 3.2; packing and ranks are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.masked_attention import Packing, make_packing, masked_self_attention, pack, unpack
from kernels.task_sampling import HIDDEN
from pipeline.base.model_groups import NetworkParams
from pipeline.model.noise import RowNoise, draw
from pipeline.rows.schema import Schema

POSITION_SCALE = 0.5  # standard deviation of the positions at the start


Noise = torch.Generator | RowNoise | None


class Block(nn.Module):
    """Pre-norm transformer block on packed tokens: masked attention, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, attention_backend: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_backend = attention_backend
        hidden = int(width * mlp_ratio)
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)

    def forward(self, x: Tensor, packing: Packing, rank: Tensor | None, kept: Tensor | None = None) -> Tensor:
        """(M, W) tokens after the block. x: (M, W); rank: (M,) int16 or None (bidirectional); kept: (M, hidden) bool,
        which activations of the MLP dropout leaves, None: all of them."""
        m, width = x.shape
        qkv = self.query_key_value(self.attention_norm(x)).view(m, 3, self.heads, width // self.heads)
        mixed = masked_self_attention(qkv, packing, rank, backend=self.attention_backend)
        x = x + self.attention_out(mixed.reshape(m, width))
        hidden = functional.gelu(self.mlp_in(self.mlp_norm(x)))
        if kept is not None:
            hidden = torch.where(kept, hidden / (1.0 - self.dropout), 0.0)
        return x + self.mlp_out(hidden)


@dataclass(frozen=True)
class FixedShapes:
    """Room for packed tokens, known without waiting for the device, so that a CUDA graph serves every task.

    tokens_per_row: room for the visible tokens of B rows is ⌈B · tokens_per_row⌉; longest_row: no row has more.
    """

    tokens_per_row: float
    longest_row: int


class TokenTransformer(nn.Module):
    """Transformer over the visible tokens of a schema and a CLS token; the body of both networks.

    fixed_shapes: None packs each batch into exactly its visible tokens.
    """

    def __init__(
        self, schema: Schema, params: NetworkParams, attention_backend: str = "auto", dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = params.width
        self.groups = schema.groups
        self.n_tokens = schema.n_tokens
        self.fixed_shapes: FixedShapes | None = None
        self.register_buffer("token_of_feature", torch.as_tensor(schema.token_of_feature), persistent=False)
        self.embed = nn.ModuleList(nn.Linear(g.width, width, bias=False) for g in self.groups)
        self.position = nn.Parameter(torch.randn(schema.n_tokens, width) * POSITION_SCALE)
        if params.position == "grid":
            on_grid = [i for i, t in enumerate(schema.tokens) if t.modality == "patch"]
            places = torch.tensor([schema.tokens[i].position for i in on_grid])
            self.position.data[on_grid] = POSITION_SCALE * 2**0.5 * _waves(places, width)
        self.role = nn.Parameter(torch.randn(3, width) * 0.5)
        self.cls = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(
            Block(width, params.heads, params.mlp_ratio, attention_backend, dropout) for _ in range(params.depth)
        )
        self.norm = nn.LayerNorm(width)
        for group, layer in zip(self.groups, self.embed, strict=True):  # unit variance whatever the token's width
            nn.init.normal_(layer.weight, std=1.0 if group.modality == "categorical" else group.width**-0.5)

    def embed_values(self, features: Tensor, read: Tensor) -> Tensor:
        """(B, L, W) embeddings of the token values in (B, F) features of the tokens `read` (B, L) bool.

        Others count as 0: what stands there, be it NaN, reaches neither an output nor a gradient.
        """
        features = torch.where(read[:, self.token_of_feature], features, features.new_zeros(()))
        parts = []
        for group, layer in zip(self.groups, self.embed, strict=True):
            values = features[:, group.features].reshape(len(features), len(group.tokens), group.width)
            parts.append(layer(values))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def forward(
        self,
        tokens: Tensor,
        cls: Tensor,
        role: Tensor,
        rank: Tensor | None = None,
        noise: Noise = None,
        shapes: FixedShapes | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(CLS feature (B, W), token features (B, L, W); zeros at hidden tokens).

        tokens: (B, L, W) without role and position; cls: (B, W) added to the CLS token;
        role: (B, L) int; rank: (B, L) int16 or None (bidirectional); noise: seeds dropout; shapes: instead of
        fixed_shapes.
        """
        x, packing = self.packed(tokens, cls, role, shapes)
        packed_rank = None if rank is None else pack(functional.pad(rank, (1, 0)), packing)  # CLS has rank 0
        for block in self.blocks:
            x = block(x, packing, packed_rank, self._kept(block, packing, noise))
        return self.unpacked(x, packing)

    def packed(
        self, tokens: Tensor, cls: Tensor, role: Tensor, shapes: FixedShapes | None = None
    ) -> tuple[Tensor, Packing]:
        """((M, W) input of the first block, its packing); arguments as in `forward`."""
        tokens = tokens + self.position + functional.embedding(role.long(), self.role)
        x = torch.cat([(self.cls + cls)[:, None], tokens], 1)
        visible = functional.pad(role != HIDDEN, (1, 0), value=True)
        fixed = shapes or self.fixed_shapes
        bounds = () if fixed is None else (fixed.longest_row, math.ceil(len(role) * fixed.tokens_per_row))
        packing = make_packing(visible, *bounds)
        return pack(x, packing), packing

    def unpacked(self, x: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
        """What `forward` returns, from the (M, W) output of the last block."""
        x = unpack(self.norm(x), packing)
        return x[:, 0], x[:, 1:]

    @staticmethod
    def _kept(block: Block, packing: Packing, noise: Noise) -> Tensor | None:
        """(M, hidden) bool, drawn for every token of the grid, so that it does not depend on what others hide."""
        if block.dropout == 0 or not block.training:
            return None
        shape = (packing.batch, packing.tokens, block.mlp_in.out_features)
        return pack(draw(torch.rand, shape, noise, packing.index.device) >= block.dropout, packing)


def _waves(places: Tensor, width: int) -> Tensor:
    """(N, width) sines and cosines of rows and of columns, wave lengths of 4 steps to 4 times the grid. places: (N, 2).

    A quarter turn of the slowest wave spans the grid; neighbours are alike from the start, which random positions learn.
    """
    pairs = -(-width // 4)
    longest = 4.0 * max(2, int(places.max()) + 1)
    length = 4.0 * (longest / 4.0) ** torch.linspace(0, 1, pairs)
    angle = 2 * math.pi * places[..., None] / length  # (N, 2, pairs)
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]
