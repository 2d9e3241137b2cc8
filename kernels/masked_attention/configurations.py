"""Static table of launch configurations: no autotuner, so that a first call costs nothing and runs repeat exactly.

Keyed by kernel, length of the longest row, padded head dimension, element size and architecture. Entries are the
largest tiles that compile without register spills in shared memory limits (tests/kernels/aot_attention.py checks
every one of them ahead of time); they are to be replaced by measured ones where a card is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

TILE_KERNELS = ("forward_tile", "backward_tile", "double_tile")
BLOCK_KERNELS = (
    "forward_blocks",
    "backward_rows",
    "backward_columns",
    "double_constants",
    "double_rows",
    "double_columns",
)


@dataclass(frozen=True)
class Configuration:
    """How a kernel is launched. block_m: queries, block_n: keys (equal in a tile kernel)."""

    block_m: int
    block_n: int
    warps: int
    stages: int


def tile_limit(order: int, head_dim: int, element_bytes: int) -> int:
    """Longest row that the tile kernel of this derivative order (0, 1, 2) holds.

    head_dim: padded to a power of two; element_bytes: of the inputs.
    """
    if order == 2:
        return 64 if head_dim * element_bytes <= 128 else 32 if head_dim * element_bytes <= 256 else 16
    return 128 if head_dim * element_bytes <= 128 else 64 if head_dim * element_bytes <= 256 else 32


def tile_configuration(order: int, max_length: int, head_dim: int, element_bytes: int) -> Configuration | None:
    """Configuration of a tile kernel, or None if the rows are too long for it."""
    if max_length > tile_limit(order, head_dim, element_bytes):
        return None
    block = max(16, 1 << (max_length - 1).bit_length())
    warps = 1 if block == 16 else 2 if block == 32 else 4 if block == 64 else 8
    return Configuration(block, block, warps, 1)


def block_configuration(kernel: str, head_dim: int, element_bytes: int) -> Configuration:
    """Configuration of a kernel of triton_blocks.py."""
    narrow = head_dim * element_bytes > 128
    if kernel == "forward_blocks":
        return Configuration(64 if narrow else 128, 64, 4, 2)
    if kernel.startswith("backward"):
        return Configuration(64, 32 if narrow else 64, 4, 2)
    return Configuration(32 if narrow else 64, 32, 4, 1)
