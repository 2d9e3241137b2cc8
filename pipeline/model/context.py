"""A small network over the whole row, beside the transformer: what is known of a row, said to every token at once.

Through attention alone a patch learns late to look at the one token of many that names the class, and a class learns late
which pixel is where: value and position must be bound in a token before a sum over tokens means anything. Here each
known feature has weights of its own, so that what is simple is learnt within a few hundred steps, and the transformer
learns what is left.

Shapes: B rows, L tokens, F features, W model width, K hidden width, Z noise width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.rows.schema import Schema

LARGEST_HIDDEN = 256  # whatever the width: its weights grow with the features of a row, which an image has many of


def hidden_width(width: int) -> int:
    """K of a model of that width."""
    return min(4 * width, LARGEST_HIDDEN)


class Context(nn.Module):
    """noise_width: Z, of the global noise that it reads too; 0: none. draws: whether it also gives first outputs."""

    def __init__(self, schema: Schema, width: int, noise_width: int = 0, *, draws: bool = False) -> None:
        super().__init__()
        self.register_buffer("token_of_feature", torch.as_tensor(schema.token_of_feature), persistent=False)
        self.categories = [g.features for g in schema.groups if g.modality == "categorical"]
        self.noise_width, hidden = noise_width, hidden_width(width)
        self.first = nn.Linear(schema.n_features + schema.n_tokens + noise_width, hidden)
        self.second = nn.Linear(hidden, width, bias=False)
        self.direct = nn.Linear(hidden, schema.n_features, bias=False) if draws else None
        names = sum(part.stop - part.start for part in self.categories)
        self.embed = nn.Linear(names, width, bias=False) if names else None
        if self.embed is not None:  # unit variance, whatever the number of categories
            nn.init.normal_(self.embed.weight, std=len(schema.tokens_of("categorical")) ** -0.5)
        if self.direct is not None:
            nn.init.zeros_(self.direct.weight)

    def forward(self, features: Tensor, read: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """((B, W) to be added to every token that is not known itself, (B, F) to be added to the outputs or None).

        features: (B, F), used at the tokens that (B, L) bool `read` names; which these are is known too. noise: (B, Z),
        None for zeros.
        """
        known = torch.where(read[:, self.token_of_feature], features, features.new_zeros(()))
        parts = [known, read.to(known.dtype)]
        if self.noise_width:
            parts.append(known.new_zeros(len(known), self.noise_width) if noise is None else noise)
        hidden = functional.gelu(self.first(torch.cat(parts, 1)))
        out, direct = self.second(hidden), None if self.direct is None else self.direct(hidden)
        if self.embed is not None:
            names = [known[:, part] for part in self.categories]
            out = out + self.embed(torch.cat(names, 1) if len(names) > 1 else names[0])
        return out, direct


def context_of(schema: Schema, width: int, noise_width: int = 0, *, draws: bool = False) -> Context | None:
    """None where every token is a choice: tables and texts, whose likelihood has no such trouble and overfits sooner."""
    return None if all(t.discrete for t in schema.tokens) else Context(schema, width, noise_width, draws=draws)
