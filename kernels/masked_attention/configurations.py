"""Static table of launch configurations: no autotuner, so that a first call costs nothing and runs repeat exactly.

Keyed by architecture, kernel, element size and padded head dimension. Every entry is the first of an ordered list
that compiles without register spills within the shared memory of its architecture
(`python -m kernels.masked_attention.ahead_of_time`); none has been timed on a card yet.
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
ARCHITECTURES = (80, 90, 100)  # 80 stands for consumer cards too, whose shared memory it respects
ELEMENT_BYTES = (2, 4)
HEAD_DIMS = (16, 32, 64, 128)


@dataclass(frozen=True)
class Configuration:
    """How a kernel is launched. block_m: queries, block_n: keys (equal in a tile kernel)."""

    block_m: int
    block_n: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return f"{self.block_m}x{self.block_n}w{self.warps}s{self.stages}"

    @staticmethod
    def parse(text: str) -> Configuration:
        """Configuration written as '64x32w4s2'."""
        blocks, rest = text.split("w")
        block_m, block_n = blocks.split("x")
        warps, stages = rest.split("s")
        return Configuration(int(block_m), int(block_n), int(warps), int(stages))


TABLE: dict = {}
