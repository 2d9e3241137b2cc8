"""The step's blocks and penalty as plain PyTorch would have them: what benchmarks/training_step.py measures ours against.

No packing: every token is computed, hidden ones are masked as keys. Attention is math attention that autograd
differentiates, or scaled dot-product attention where no second derivative is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor
from torch.nn.functional import embedding, gelu, pad, scaled_dot_product_attention

from kernels.task_sampling import HIDDEN
from pipeline.model.transformer import Block, TokenTransformer
from pipeline.training.step import TrainingStep


def attend(qkv: Tensor, mask: Tensor, fused: bool) -> Tensor:
    """(B, H, L, D) from (3, B, H, L, D) and (B, 1, 1, L) bool."""
    if fused:
        return scaled_dot_product_attention(*qkv.unbind(0), attn_mask=mask)
    q, k, v = qkv.unbind(0)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return scores.masked_fill(~mask, -torch.inf).softmax(-1).to(v.dtype) @ v


def plain_block(block: Block, x: Tensor, mask: Tensor, fused: bool) -> Tensor:
    """(B, L, W) tokens after a block of ours, every token computed."""
    b, n, width = x.shape
    qkv = block.query_key_value(block.attention_norm(x)).view(b, n, 3, block.heads, width // block.heads)
    mixed = attend(qkv.permute(2, 0, 3, 1, 4), mask, fused).transpose(1, 2).reshape(b, n, width)
    x = x + block.attention_out(mixed)
    return x + block.mlp_out(gelu(block.mlp_in(block.mlp_norm(x))))


class PlainBody:
    """`TokenTransformer.forward` as plain PyTorch would have it: no packing, hidden tokens masked as keys."""

    def __init__(self, fused: bool, compiled: bool = False) -> None:
        self.fused = fused  # scaled dot-product attention instead of math attention
        self.block = torch.compile(plain_block) if compiled else plain_block

    def bind(self, body: TokenTransformer) -> None:
        """Replaces the forward of `body`."""
        body.forward = MethodType(lambda body, *args, **more: self(body, *args, **more), body)

    def __call__(
        self,
        body: TokenTransformer,
        tokens: Tensor,
        cls: Tensor,
        role: Tensor,
        rank: Tensor | None = None,
        noise: object = None,
        shapes: object = None,
    ) -> tuple[Tensor, Tensor]:
        """(CLS feature (B, W), token features (B, L, W)) like the original, of networks without dropout."""
        tokens = tokens + body.position + embedding(role.long(), body.role)
        x = torch.cat([(body.cls + cls)[:, None], tokens], 1)
        visible = pad(role != HIDDEN, (1, 0), value=True)
        mask = visible[:, None, None, :]
        for block in body.blocks:
            x = self.block(block, x, mask, self.fused)
        x = body.norm(x) * visible[..., None]
        return x[:, 0], x[:, 1:]


def functional_penalty(step: TrainingStep, features: Tensor, role: Tensor) -> Tensor:
    """(B,) squared gradient norms as torch.compile can differentiate them once more."""
    return torch.func.grad(lambda x: step.discriminator(x, role).float().sum())(features).square().sum(1)


def unfused_penalty(penalty: Callable, plain: PlainBody) -> Callable:
    """The penalty with math attention, the blocks not compiled by themselves: neither has a second derivative."""
    block = plain.block

    def call(*arguments) -> Tensor:
        plain.fused, plain.block = False, plain_block
        try:
            return penalty(*arguments)
        finally:
            plain.fused, plain.block = True, block

    return call
