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

HIDDEN = 256  # K, whatever the width: its weights grow with the features of a row, which an image has many of


class Context(nn.Module):
    """noise_width: Z, of the global noise that it reads too; 0: none. draws: whether it also gives first outputs."""

    def __init__(self, schema: Schema, width: int, noise_width: int = 0, *, draws: bool = False) -> None:
        super().__init__()
        self.register_buffer("token_of_feature", torch.as_tensor(schema.token_of_feature), persistent=False)
        self.categories = [g.features for g in schema.groups if g.modality == "categorical"]
        patch = torch.tensor([schema.tokens[i].modality == "patch" for i in schema.token_of_feature])
        self.register_buffer("patch", patch, persistent=False)
        self.noise_width = noise_width
        self.first = nn.Linear(schema.n_features + schema.n_tokens + noise_width, HIDDEN)
        self.middle = nn.Linear(HIDDEN, HIDDEN)
        self.second = nn.Linear(HIDDEN, width, bias=False)
        self.direct = nn.Linear(HIDDEN, schema.n_features, bias=False) if draws else None
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
        hidden = hidden + functional.gelu(self.middle(hidden))
        out, direct = self.second(hidden), None if self.direct is None else self.direct(hidden)
        if self.embed is not None:
            names = [known[:, part] for part in self.categories]
            out = out + self.embed(torch.cat(names, 1) if len(names) > 1 else names[0])
        return out, direct

    def rows(self, features: Tensor, read: Tensor, noise: Tensor) -> Tensor:
        """(B, F) rows as a generator would draw them that had nothing else; arguments as in `forward`."""
        out = self.forward(features, read, noise)[1]
        return torch.where(self.patch, torch.tanh(out), out)


class CategoryNetwork(nn.Module):
    """Logits of every category from what is known of the row: two hidden layers with weights of their own.

    The transformer is taught by pixels, thousands of numbers a step, and by one name a row beside them; weights that learn
    the names alone learn them sooner and better (docs/decisions/training.md).
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.register_buffer("token_of_feature", torch.as_tensor(schema.token_of_feature), persistent=False)
        self.groups = schema.groups
        self.first = nn.Linear(schema.n_features + schema.n_tokens, HIDDEN)
        self.middle = nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, sum(g.features.stop - g.features.start for g in schema.groups if g.discrete))

    def forward(self, features: Tensor, read: Tensor) -> Tensor:
        """(B, F) logits, 0 at what is continuous. features: (B, F), used at the tokens that (B, L) bool `read` names."""
        known = torch.where(read[:, self.token_of_feature], features, features.new_zeros(()))
        hidden = functional.gelu(self.first(torch.cat([known, read.to(known.dtype)], 1)))
        logits, parts, place = self.last(functional.gelu(self.middle(hidden))), [], 0
        for group in self.groups:
            width = group.features.stop - group.features.start
            if group.discrete:
                parts.append(logits[:, place : place + width])
                place += width
            else:
                parts.append(logits.new_zeros(len(logits), width))
        return torch.cat(parts, 1)


def context_of(schema: Schema, width: int, noise_width: int = 0, *, draws: bool = False) -> Context | None:
    """None where every token is a choice: tables and texts, whose likelihood has no such trouble and overfits sooner."""
    return None if all(t.discrete for t in schema.tokens) else Context(schema, width, noise_width, draws=draws)
