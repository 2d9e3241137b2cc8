"""Static table of launch configurations: no autotuner, so that a first call costs nothing and runs repeat exactly.

Keyed by architecture, kernel, element size and padded head dimension. `python -m kernels.masked_attention.ahead_of_time`
prints the first of an ordered list of tiles that compiles without register spills within the shared memory; the order,
and the rows of Hopper in bfloat16, were measured on an H200 (benchmarks/attention_sweep.py). Float32 products cost
three tensor-core ones and split every operand in two: from D = 64 on only small blocks fit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import torch

TILE_KERNELS = ("forward_tile", "backward_tile", "double_tile")
BLOCK_KERNELS = (
    "forward_blocks",
    "backward_rows",
    "backward_columns",
    "double_constants",
    "double_rows",
    "double_columns",
)
SAME_LOOP = {"tangent_tile": "double_tile", "tangent_blocks": "double_constants"}  # kernel → whose rows it takes
ARCHITECTURES = (80, 90, 100)  # 80 stands for consumer cards too, whose shared memory it respects
ELEMENT_BYTES = (2, 4)
HEAD_DIMS = (16, 32, 64, 128)
TILE_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True)
class Configuration:
    """How a kernel is launched. block_m: queries, block_n: keys (equal in a tile kernel); registers: the most a thread
    of an NVIDIA card may have, 0 for the compiler's choice."""

    block_m: int
    block_n: int
    warps: int
    stages: int
    registers: int = 0

    def __str__(self) -> str:
        limit = f"r{self.registers}" if self.registers else ""
        return f"{self.block_m}x{self.block_n}w{self.warps}s{self.stages}{limit}"

    @staticmethod
    def parse(text: str) -> Configuration:
        """Configuration written as '64x32w4s2', with a limit of registers as '64x32w4s2r128'."""
        found = re.fullmatch(r"(\d+)x(\d+)w(\d+)s(\d+)(?:r(\d+))?", text)
        if found is None:
            raise ValueError(f"'text' must be written as 64x32w4s2 or 64x32w4s2r128. Got {text!r}.")
        return Configuration(*(int(n or 0) for n in found.groups()))

    @property
    def options(self) -> dict[str, int]:
        """Compiler options of the launch."""
        limit = {"maxnreg": self.registers} if self.registers else {}
        return {"num_warps": self.warps, "num_stages": self.stages} | limit


def tile_configuration(
    kernel: str, max_length: int, head_dim: int, element_bytes: int, architecture: int
) -> Configuration | None:
    """Configuration of the smallest tile of `kernel` that holds `max_length` tokens, or None if none does.

    head_dim: padded to a power of two of at least 16; architecture: one of ARCHITECTURES.
    """
    cell = _table()[architecture, SAME_LOOP.get(kernel, kernel), element_bytes, head_dim]
    return next((to for to in cell if to.block_m >= max_length), None)


def block_configuration(kernel: str, head_dim: int, element_bytes: int, architecture: int) -> Configuration:
    """Configuration of a kernel of triton_blocks.py; arguments as in `tile_configuration`."""
    return _table()[architecture, SAME_LOOP.get(kernel, kernel), element_bytes, head_dim][0]


@cache
def architecture_of(device: torch.device) -> int:
    """The row of the table for a device: 80, 90 or 100. What is neither Hopper nor a data-centre Blackwell is 80."""
    if device.type != "cuda" or torch.version.hip is not None:
        return 80
    major, _ = torch.cuda.get_device_capability(device)
    return {9: 90, 10: 100}.get(major, 80)


@cache
def _table() -> dict[tuple[int, str, int, int], tuple[Configuration, ...]]:
    out = {}
    for line in TABLE.strip().splitlines():
        architecture, kernel, element_bytes, *cells = line.split()
        for head_dim, cell in zip(HEAD_DIMS, cells, strict=True):
            key = int(architecture), kernel, int(element_bytes), head_dim
            if kernel in TILE_KERNELS:
                sizes = zip(TILE_SIZES, cell.split("/"), strict=True)
                out[key] = tuple(Configuration(n, n, int(warps), 1) for n, warps in sizes if warps != "-")
            else:
                out[key] = (Configuration.parse(cell),)
    return out


# Architecture, kernel, element bytes; then a cell for each of HEAD_DIMS. Tile kernels: warps for each of TILE_SIZES,
# '-' where none fits. Block kernels: queries x keys, warps, stages, and r with the
# most registers of a thread where they are limited.
TABLE = """
  80 forward_tile     2  1/2/4/8     1/2/4/8     1/2/4/8     1/2/4/-
  80 forward_tile     4  1/2/4/8     1/2/4/-     1/2/-/-     1/-/-/-
  80 backward_tile    2  1/2/4/8     1/2/4/8     1/2/4/-     1/2/4/-
  80 backward_tile    4  1/2/4/-     1/2/4/-     1/2/4/-     1/2/-/-
  80 double_tile      2  1/2/4/-     1/2/4/-     1/2/-/-     1/2/-/-
  80 double_tile      4  1/2/4/-     1/2/4/-     1/2/-/-     1/-/-/-
  80 forward_blocks   2  128x64w4s2  128x64w4s2  64x64w4s2   64x64w4s2
  80 forward_blocks   4  128x64w4s2  128x64w4s2  64x64w4s2   32x32w4s1
  80 backward_rows    2  64x64w4s2   64x64w4s2   64x32w4s2   64x32w4s2
  80 backward_rows    4  64x64w4s2   64x64w4s2   64x32w4s2   16x32w4s1
  80 backward_columns 2  64x64w4s2   64x64w4s2   32x64w4s2   32x64w4s2
  80 backward_columns 4  64x64w4s2   64x64w4s2   32x64w4s2   32x16w4s1
  80 double_constants 2  64x32w4s1   64x32w4s1   64x32w4s1   32x32w4s1
  80 double_constants 4  64x32w4s1   64x32w4s1   32x32w4s1   32x32w4s1
  80 double_rows      2  64x32w4s1   64x32w4s1   32x32w4s1   32x32w4s1
  80 double_rows      4  64x32w4s1   64x32w4s1   32x32w4s1   16x32w8s1
  80 double_columns   2  32x64w4s1   32x64w4s1   32x32w4s1   32x32w4s1
  80 double_columns   4  32x64w4s1   32x64w4s1   32x32w4s1   32x16w8s1
  90 forward_tile     2  1/2/4/8     1/2/4/8     1/2/4/8     1/2/4/8
  90 forward_tile     4  1/2/4/8     1/2/4/8     1/2/4/8     2/4/-/-
  90 backward_tile    2  1/2/4/8     1/2/4/8     1/2/4/8     1/2/4/8
  90 backward_tile    4  1/2/4/-     1/2/4/-     2/4/-/-     -/-/-/-
  90 double_tile      2  1/2/4/-     1/2/4/-     1/2/4/-     2/4/-/-
  90 double_tile      4  1/-/-/-     1/-/-/-     -/-/-/-     -/-/-/-
  90 forward_blocks   2  64x64w4s3   64x64w4s3   64x64w4s3   64x64w4s3
  90 forward_blocks   4  64x64w4s3   64x64w4s3   64x32w4s2   16x32w4s1
  90 backward_rows    2  64x64w4s2   64x64w4s3   64x64w4s3   64x64w4s2
  90 backward_rows    4  64x64w4s2   64x64w4s2   64x32w4s2   16x32w4s1
  90 backward_columns 2  32x64w4s2   32x64w4s3   32x64w4s3   32x64w8s1
  90 backward_columns 4  64x64w4s2   32x64w4s2   32x64w8s1   32x16w8s1
  90 double_constants 2  64x32w4s2   64x32w4s3   64x32w4s3   64x32w8s1
  90 double_constants 4  64x32w4s2   64x64w8s2   64x32w4s1   16x32w8s1
  90 double_rows      2  64x32w4s2   64x32w4s2   64x32w4s2   64x32w4s1
  90 double_rows      4  64x32w4s2   64x32w4s2   16x32w4s1   16x32w8s1
  90 double_columns   2  32x64w4s2   32x64w4s1   32x64w4s1   32x32w4s1
  90 double_columns   4  32x64w4s2   32x64w4s2   32x16w4s1   32x16w8s1
 100 forward_tile     2  1/2/4/8     1/2/4/8     1/2/4/8     1/2/4/8
 100 forward_tile     4  1/2/4/8     1/2/4/8     1/2/4/-     2/4/-/-
 100 backward_tile    2  1/2/4/8     1/2/4/8     1/2/4/8     1/2/4/8
 100 backward_tile    4  1/2/4/-     1/2/4/-     2/4/-/-     -/-/-/-
 100 double_tile      2  1/2/4/-     1/2/4/-     1/2/4/-     2/4/-/-
 100 double_tile      4  1/-/-/-     1/-/-/-     -/-/-/-     -/-/-/-
 100 forward_blocks   2  64x64w4s3   64x64w4s3   64x64w4s3   64x64w4s3
 100 forward_blocks   4  64x64w4s3   64x64w4s3   64x32w4s2   16x32w4s1
 100 backward_rows    2  64x64w4s2   64x64w4s2   64x64w4s2   64x64w4s2
 100 backward_rows    4  64x64w4s2   64x64w4s2   64x32w4s2   16x32w4s1
 100 backward_columns 2  32x64w4s2   32x64w4s2   32x64w4s2   32x64w8s1
 100 backward_columns 4  64x64w4s2   32x64w4s2   32x64w8s1   32x16w8s1
 100 double_constants 2  64x32w4s2   64x32w4s2   64x32w4s2   64x64w8s2
 100 double_constants 4  64x32w4s2   64x64w8s2   64x32w4s1   16x32w8s1
 100 double_rows      2  64x32w4s2   64x32w4s2   64x32w4s2   64x32w4s1
 100 double_rows      4  64x32w4s2   64x32w4s2   16x32w4s1   16x32w8s1
 100 double_columns   2  32x64w4s2   32x64w4s2   32x64w4s2   32x32w4s1
 100 double_columns   4  32x64w4s2   32x64w4s2   32x16w4s1   32x16w8s1
"""
