"""Attention over visible tokens, exact to second order, and the packing it runs on."""

from kernels.masked_attention.api import (
    masked_attention,
    masked_attention_padded,
    masked_self_attention,
    self_attention_gradient,
    self_attention_with_residuals,
)
from kernels.masked_attention.packing import Packing, make_packing, pack, unpack
from kernels.masked_attention.scaled_dot_product import attention, attention_jvp

__all__ = [
    "Packing",
    "attention",
    "attention_jvp",
    "make_packing",
    "masked_attention",
    "masked_attention_padded",
    "masked_self_attention",
    "pack",
    "self_attention_gradient",
    "self_attention_with_residuals",
    "unpack",
]
