"""The universal transformer, and the generator and discriminator made of it.

Tokens of a sample, in the order of its schema, are preceded by one CLS token. Role says what a token
is in the task (S, T): hidden (marginalised: it is packed away and costs nothing), source or target.
Rank restricts attention: token i sees token j iff rank[j] <= rank[i] (all zero: bidirectional).

Shapes: B rows, L tokens, F features, M visible tokens of the batch (CLS included), W model width,
H heads, D head dimension, Z noise width.
Source: arXiv 2407.21319, section 3.2; packing and ranks are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.model.context import CategoryNetwork, context_of
from pipeline.model.convolutions import Refinement, Stem
from pipeline.model.noise import RowNoise, draw
from pipeline.model.sums import cumulative
from pipeline.model.transformer import FixedShapes, Noise, TokenTransformer
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Group

CERTAIN = 30.0  # logit of a choice that is known, the others' being 0


@dataclass(frozen=True)
class Generated:
    """features: (B, F) rows with x_T drawn, categories one-hot (or relaxed), hidden tokens 0.
    raw: (B, F) outputs before any draw: tanh'd patches, numbers, logits of choices; meaningful at targets.

    Choices are the categories of a categorical token and the bins of a binned number."""

    features: Tensor
    raw: Tensor


class Generator(nn.Module):
    """G(x_S, role, z): draws x_T | x_S for any task (S, T).

    z: noise of each target token and global noise, which the CLS token and every target get: what the parts of a sample
    share need not pass attention first.

    order "categorical_first": categories are drawn from p(c | x_S) first, the rest from p(rest | x_S, c), the chain
    rule through the same network; gradients pass the draw by the straight-through Gumbel estimator (1611.01144).
    Then cross-entropy and the adversarial loss have one optimum, the true conditional, and a label always fits its
    image. order "one_pass": all targets at once, categories relaxed to probabilities. order "one_by_one", where every
    token is a choice: a pass gives p(x_t | x_S) of each target and needs no noise; a sampler draws the targets one
    after the other, each given those before it, in random order (any-order autoregression, 2110.02037).

    choice_passes K > 1, for categorical_first: categories that depend on one another, as a face's attributes. One pass
    would draw them independently given x_S. In training the first pass is shown k/K of the categories, k uniform in
    0…K−1, and the rest is generated given the true ones, so that cross-entropy teaches p(c | x_S, some of c) and the
    adversarial loss p(rest | x_S, c), and no discriminator is fed combinations that only independence makes. A sampler
    draws a K-th of them a pass.

    teaches: in training the rest is generated given the true categories whatever the number of passes.

    categories: logits of the categories that come first are those of a small network over the row, with those of the
    transformer added (params.category_network "both") or without ("row": no pass of it). context_alone: in training, while
    only the context network learns; see `pipeline.training.schedule.Plan`.
    """

    def __init__(self, schema: Schema, params: NetworkParams, attention_backend: str = "auto") -> None:
        super().__init__()
        self.body = TokenTransformer(schema, params, attention_backend, params.dropout)
        self.order = params.order
        self.choice_passes = params.choice_passes
        self.first_shapes: FixedShapes | None = None  # of the pass that draws categories, instead of the body's
        self.second_shapes: FixedShapes | None = None  # of the pass that draws the rest
        self.straight_through = False
        self.context_alone = False  # the outputs are those of the context; the transformer rests
        self.teaches = False
        self.noise_width = params.noise_width
        self.token_noise = nn.Linear(params.noise_width, params.width, bias=False)
        self.global_noise = nn.Linear(params.noise_width, params.width, bias=False)
        self.context = context_of(schema, params.width, params.noise_width, draws=True)
        chained = params.order == "categorical_first" and 0 < sum(t.discrete for t in schema.tokens) < schema.n_tokens
        self.categories = CategoryNetwork(schema) if chained else None
        self.row_alone = params.category_network == "row"
        self.heads = nn.ModuleList(nn.Linear(params.width, g.width) for g in schema.groups)
        channels = params.convolution_channels if schema.image is not None else 0
        self.stem = Stem(schema, params.width, channels) if channels else None
        self.refinement = Refinement(schema, params.width, channels) if channels else None
        discrete = torch.tensor([t.discrete for t in schema.tokens])
        self.register_buffer("discrete", discrete, persistent=False)
        self.register_buffer("token_of_feature", torch.as_tensor(schema.token_of_feature), persistent=False)
        log_mass = _log_mass(schema)
        self.register_buffer("log_mass", log_mass, persistent=False)
        self.register_buffer("spacing", _spacing(schema), persistent=False)
        self.register_buffer("trust", None if log_mass is None else torch.ones(schema.n_tokens))
        self.mixed = bool(discrete.any()) and not bool(discrete.all())
        if self.order == "one_by_one" and not bool(discrete.all()):
            raise ValueError(
                "'network.order' must not be one_by_one unless every token is categorical or binned. "
                f"Got {int((~discrete).sum())} continuous tokens."
            )

    @torch.no_grad()
    def start_from_context(self) -> None:
        """What the transformer adds to the outputs of the context starts at zero, so that it can join later."""
        for group, head in zip(self.body.groups, self.heads, strict=True):
            if self.context is not None and not group.discrete:
                head.weight.zero_()
                head.bias.zero_()

    def forward(self, features: Tensor, role: Tensor, noise: Noise = None, rank: Tensor | None = None) -> Generated:
        """Rows whose target tokens are drawn from p(x_T | x_S).

        features: (B, F), read at source tokens only; role: (B, L); noise: seeds every draw; rank: (B, L) or None.
        """
        if not self.chained:
            raw = self._raw(features, role, noise, rank)
            drawn = self._relax(raw) if self.order == "one_pass" else self._draw_choices(raw, noise)
            return Generated(self.fill(features, role, drawn), raw)
        first, known, visible, second_role = self._choices(features, role, noise, rank)
        second = self._raw(known, second_role, noise, rank, self.second_shapes)
        raw = torch.where(self.discrete[self.token_of_feature], first, second)
        return Generated(self.fill(known, visible, second), raw)

    def twice(
        self, features: Tensor, role: Tensor, noise: Noise = None, rank: Tensor | None = None
    ) -> tuple[Generated, Tensor]:
        """(what `forward` returns, the (B, F) features of a second draw of the continuous targets given the same x_S
        and, where categories come first, the same ones). One pass over both; arguments as in `forward`."""
        both = noise.twice() if isinstance(noise, RowNoise) else noise
        ranks = None if rank is None else rank.repeat(2, 1)
        if not self.chained:
            out = self.forward(features.repeat(2, 1), role.repeat(2, 1), both, ranks)
            one, other = out.features.chunk(2)
            return Generated(one, out.raw[: len(one)]), other
        first, known, visible, second_role = self._choices(features, role, noise, rank)
        raw = self._raw(known.repeat(2, 1), second_role.repeat(2, 1), both, ranks, self.second_shapes)
        one, other = raw.chunk(2)
        drawn = Generated(self.fill(known, visible, one), torch.where(self.discrete[self.token_of_feature], first, one))
        return drawn, self.fill(known, visible, other)

    @property
    def chained(self) -> bool:
        """Whether categories are drawn first and the rest given them."""
        return self.order == "categorical_first" and self.mixed

    def _choices(
        self, features: Tensor, role: Tensor, noise: Noise, rank: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """((B, F) logits of the target categories, (B, F) sources and categories, (B, L) roles with these as sources, the
        same with nothing visible in rows that have no other target)."""
        chosen = (role == TARGET) & self.discrete
        # Rows that draw no choice keep only their CLS token in the first pass: it costs them almost nothing.
        first_role = torch.where(chosen | ((role == SOURCE) & chosen.any(1, keepdim=True)), role, HIDDEN)
        if self.training and (self.teaches or self.choice_passes > 1):
            first, known = self._taught_choices(features, role, first_role, chosen, noise, rank)
        else:
            first = self._first(features, first_role, noise, rank, quiet=not self.straight_through)
            known = self.fill(features, first_role, self._draw_choices(first, noise))
            known = torch.where((role == SOURCE)[:, self.token_of_feature], features, known)
        rest = (role == TARGET) & ~self.discrete
        visible = torch.where(chosen, SOURCE, role)
        return first, known, visible, torch.where(rest.any(1, keepdim=True), visible, HIDDEN)

    def _first(self, features: Tensor, role: Tensor, noise: Noise, rank: Tensor | None, *, quiet: bool) -> Tensor:
        """(B, F) logits of the categories that (B, L) `role` asks for; arguments as in `_raw`."""
        read = role == SOURCE
        if rank is not None:  # what every category asked for may see
            asked = (role == TARGET) & self.discrete
            read = read & (rank <= torch.where(asked, rank, torch.iinfo(rank.dtype).max).amin(1, keepdim=True))
        logits = self.categories(features, read)
        if self.row_alone or self.context_alone:
            return logits
        return logits + self._raw(features, role, noise, rank, self.first_shapes, quiet=quiet)

    def _taught_choices(
        self, features: Tensor, role: Tensor, first_role: Tensor, chosen: Tensor, noise: Noise, rank: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """((B, F) logits of the `chosen` (B, L) given some of them, (B, F) sources and true choices); see the class.

        The choices that are shown get their true value as a certain one: they cost the likelihood nothing.
        """
        passes, (rows, tokens), shown = self.choice_passes, role.shape, None
        if passes > 1:
            done = (draw(torch.rand, (rows, 1), noise, role.device) * passes).floor() / passes
            shown = chosen & (draw(torch.rand, (rows, tokens), noise, role.device) < done)
            first_role = torch.where(shown, SOURCE, first_role)
        logits = self._first(features, first_role, noise, rank, quiet=True)
        if shown is not None:
            logits = torch.where(shown[:, self.token_of_feature], CERTAIN * features, logits)
        known = torch.where(((role == SOURCE) | chosen)[:, self.token_of_feature], features, features.new_zeros(()))
        return logits, known

    def fill(self, features: Tensor, role: Tensor, generated: Tensor) -> Tensor:
        """(B, F) `features` with the target tokens replaced by `generated`, and hidden tokens by 0."""
        role = role[:, self.token_of_feature]
        return torch.where(role == TARGET, generated, torch.where(role == SOURCE, features, features.new_zeros(())))

    def logits(self, features: Tensor, role: Tensor, noise: Noise = None, rank: Tensor | None = None) -> Tensor:
        """(B, F) log-probabilities up to a constant of each token's choices given x_S, at targets; order one_by_one.

        noise: seeds dropout; the rest draws nothing."""
        assert self.order == "one_by_one"
        return self._raw(features, role, noise, rank)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, F) probabilities of the choices of every categorical or binned token."""
        return self._map_choices(logits, lambda group, part: part.softmax(-1))

    def _raw(
        self,
        features: Tensor,
        role: Tensor,
        noise: Noise,
        rank: Tensor | None,
        shapes: FixedShapes | None = None,
        *,
        quiet: bool = False,
    ) -> Tensor:
        """(B, F) outputs before any draw. quiet: no noise goes in, dropout aside, since the output is a distribution to
        draw from: noise would blur it, and a body that learns to ignore it there loses diversity where it needs it."""
        if self.context_alone and not quiet:
            z = draw(torch.randn, (len(features), self.noise_width), noise, features.device)
            return _without_ranks(self.context.rows(features, role == SOURCE, z), rank)
        tokens, cls, direct = self._read(features, role, noise, rank, quiet or self.order == "one_by_one")
        _, tokens = self.body(tokens, cls, role, rank, noise, shapes)
        parts = []
        for group, head in zip(self.body.groups, self.heads, strict=True):
            own = slice(group.tokens[0], group.tokens[-1] + 1)
            out = head(tokens[:, own])
            if direct is not None:
                out = out + direct[:, group.features].reshape(out.shape)
            if group.modality == "patch":
                if self.refinement is not None and not quiet:
                    out = out + self._refined(tokens[:, own], out, features[:, group.features], role[:, own], rank)
                out = torch.tanh(out)
            parts.append(out.flatten(1))
        raw = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        return raw if self.log_mass is None else self.trusted(raw, self.trust)

    def _read(
        self, features: Tensor, role: Tensor, noise: Noise, rank: Tensor | None, quiet: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """((B, L, W) tokens and (B, W) CLS that the body reads, (B, F) first outputs or None); arguments as in `_raw`."""
        source, z = role == SOURCE, None
        tokens = self.body.embed_values(features, source)
        beside = None if self.stem is None else _without_ranks(self.stem(features, source), rank)
        if beside is not None:
            tokens = tokens + beside
        shared, direct = tokens.new_zeros(len(features), tokens.shape[-1]), None
        if not quiet:
            z = draw(torch.randn, (len(features), self.body.n_tokens + 1, self.noise_width), noise, features.device)
            shared = self.global_noise(z[:, 0])
        if self.context is not None:
            context, direct = self.context(features, source, None if z is None else z[:, 0])
            shared, direct = shared + _without_ranks(context, rank), _without_ranks(direct, rank)
        if z is not None:
            unknown = self.token_noise(z[:, 1:]) + shared[:, None]
            tokens = torch.where(source[..., None], tokens, unknown if beside is None else unknown + beside)
        return tokens, shared, direct

    def _refined(self, tokens: Tensor, out: Tensor, features: Tensor, role: Tensor, rank: Tensor | None) -> Tensor:
        """(B, G, P²C) correction of the patches `out`, see `Refinement`; 0 in a row with ranks.

        tokens: (B, G, W); features: (B, G·P²C); role: (B, G)."""
        source, target = (role == SOURCE)[..., None], (role == TARGET)[..., None]
        nothing = out.new_zeros(())
        known = torch.where(source, features.reshape(out.shape).to(out.dtype), nothing)
        drawn = torch.where(target, torch.tanh(out), nothing)
        return _without_ranks(self.refinement(tokens, known, drawn, role != HIDDEN), rank)

    def trusted(self, raw: Tensor, trust: Tensor) -> Tensor:
        """(B, F) logits: outputs of the heads times the (L,) trust of their token, plus the log shares of the choices.

        Trust 1 is the network's word, 0 the marginal of the column; it is set on held-out rows after training.
        """
        return raw * trust[self.token_of_feature] + self.log_mass

    def _map_choices(self, raw: Tensor, function: Callable[[Group, Tensor], Tensor]) -> Tensor:
        """`raw` with `function` applied to the (B, tokens, choices) logits of every discrete group."""
        parts = []
        for group in self.body.groups:
            part = raw[:, group.features]
            if group.discrete:
                part = function(group, part.reshape(len(raw), len(group.tokens), group.width)).flatten(1)
            parts.append(part)
        return torch.cat(parts, 1)

    def _relax(self, raw: Tensor) -> Tensor:
        def relax(group: Group, logits: Tensor) -> Tensor:
            soft = logits.softmax(-1)
            return _come_through(soft, 0.5) if group.binned else soft

        return self._map_choices(raw, relax)

    def _draw_choices(self, raw: Tensor, noise: Noise) -> Tensor:
        """`raw` with every category and bin drawn: one-hot forward, the gradient of the softmax backward."""

        def chosen(group: Group, logits: Tensor) -> Tensor:
            uniform = draw(torch.rand, logits.shape, noise, logits.device)
            perturbed = logits.float() - torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
            hard = torch.zeros_like(perturbed).scatter_(-1, perturbed.argmax(-1, keepdim=True), 1.0)
            soft = perturbed.softmax(-1)
            if group.binned:
                place = draw(torch.rand, (*logits.shape[:-1], 1), noise, logits.device)
                hard, soft = _come_through(hard, place), _come_through(soft, place)
            return hard + soft - soft.detach() if self.straight_through else hard

        return self._map_choices(raw, chosen)


def _without_ranks(value: Tensor, rank: Tensor | None) -> Tensor:
    """(B, …) `value`, 0 in the rows with ranks: of what does not know which tokens may see one another."""
    if rank is None:
        return value
    free = (rank == 0).all(1).view(-1, *[1] * (value.dim() - 1))
    return torch.where(free, value, value.new_zeros(()))


def _come_through(choice: Tensor, place: Tensor | float) -> Tensor:
    """(…, K) features of a binned number from its (soft) choice of a bin: the chance to be above a bin, and inside it
    the share `place` that lies below; pipeline.rows.schema.encode_bins is its inverse for a hard choice."""
    above = cumulative(choice.flip(-1)).flip(-1) - choice
    return above + choice * place


def _log_mass(schema: Schema) -> Tensor | None:
    """(F,) log share of the training values in each choice, least −30; None when no token knows its shares.

    Added to the logits, so that an untrained network already draws from the marginals.
    """
    if not any(t.mass for t in schema.tokens):
        return None
    mass = [np.asarray(t.mass) / np.sum(t.mass) if t.mass else np.ones(t.width) for t in schema.tokens]
    return torch.from_numpy(np.log(np.concatenate(mass).clip(1e-13))).float()


def _spacing(schema: Schema) -> Tensor:
    """(F,) distance in standard deviations from the middle of a bin to that of the next; 0 at the last and elsewhere."""
    out = np.zeros(schema.n_features)
    for i, token in enumerate(schema.tokens):
        if token.binned:
            edges = np.asarray(token.edges)
            middle = (edges[:-1] + edges[1:]) / 2 / token.scale
            out[schema.offsets[i] : schema.offsets[i + 1] - 1] = np.diff(middle)
    return torch.from_numpy(out).float()
