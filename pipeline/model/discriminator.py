"""The discriminator: one logit for any task.

Shapes: B rows, L tokens, F features, W model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.task_sampling import HIDDEN, TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.model.context import context_of
from pipeline.model.convolutions import Stem
from pipeline.model.generator import Generator
from pipeline.model.transformer import FixedShapes, TokenTransformer
from pipeline.rows.schema import Schema


class Discriminator(nn.Module):
    """f(x; S, T): one logit for any task; at the optimum log q(x_{S∪T}) / [p(x_T | x_S) q(x_S)]."""

    def __init__(
        self,
        schema: Schema,
        params: NetworkParams,
        *,
        patch_logit: bool = True,
        minibatch_group: int = 8,
        attention_backend: str = "auto",
    ) -> None:
        super().__init__()
        self.body = TokenTransformer(schema, params, attention_backend)
        channels = params.convolution_channels if schema.image is not None else 0
        self.stem = Stem(schema, params.width, channels) if channels else None
        self.context = context_of(schema, params.width)
        self.critic_shapes: FixedShapes | None = None  # of real, generated and mismatched rows together
        self.minibatch_group = minibatch_group
        self.cls_logit = nn.Linear(params.width * (2 if minibatch_group > 1 else 1), 1)
        self.patch_logit = nn.Linear(params.width, 1) if patch_logit else None

    @torch.no_grad()
    def start_from(self, generator: Generator) -> None:
        """Takes over what a generator that learnt alone knows of rows: its transformer, its convolutions over what is read,
        its context but for the noise. A discriminator that starts from nothing cannot tell good samples for long."""
        self.body.load_state_dict(generator.body.state_dict())
        if self.stem is not None:
            self.stem.load_state_dict(generator.stem.state_dict())
        if self.context is not None:
            known = self.context.first.in_features
            theirs = {k: v for k, v in generator.context.state_dict().items() if not k.startswith("direct.")}
            theirs["first.weight"] = theirs["first.weight"][:, :known]
            self.context.load_state_dict(theirs)

    def forward(self, features: Tensor, role: Tensor, shapes: FixedShapes | None = None) -> Tensor:
        """(B,) logits. features: (B, F); role: (B, L); shapes: instead of the body's. Consecutive runs of
        `minibatch_group` rows share their standard deviation, so a run must hold only real or only generated rows."""
        return self.logit(*self.body(*self.inputs(features, role), role, shapes=shapes), role)

    def inputs(self, features: Tensor, role: Tensor) -> tuple[Tensor, Tensor]:
        """((B, L, W) tokens, (B, W) CLS tokens) that the body reads."""
        cls, visible = features.new_zeros(len(features), self.body.cls.numel()), role != HIDDEN
        tokens = self.body.embed_values(features, visible)
        if self.stem is not None:
            tokens = tokens + self.stem(features, visible)
        if self.context is not None:
            context, _ = self.context(features, visible)
            tokens, cls = tokens + context[:, None], cls + context
        return tokens, cls

    def logit(self, cls: Tensor, tokens: Tensor, role: Tensor) -> Tensor:
        """(B,) logits from what the body returns, never in half precision: losses are made of their differences."""
        dtype = self.cls_logit.weight.dtype
        with torch.autocast(cls.device.type, enabled=False):
            cls = cls.to(dtype)
            if self.minibatch_group > 1:
                cls = torch.cat([cls, self._group_deviation(cls)], 1)
            logit = self.cls_logit(cls)[:, 0]
            if self.patch_logit is not None:
                target = (role == TARGET).to(dtype)
                per_token = self.patch_logit(tokens.to(dtype))[..., 0]
                logit = logit + (per_token * target).sum(1) / target.sum(1).clamp(min=1.0)
        return logit

    def _group_deviation(self, x: Tensor) -> Tensor:
        groups = x.view(-1, self.minibatch_group, x.shape[1])
        deviation = (groups.var(1, unbiased=False, keepdim=True) + 1e-4).sqrt()
        return deviation.expand_as(groups).reshape_as(x)
