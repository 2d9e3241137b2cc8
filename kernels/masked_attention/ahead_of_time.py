"""Compiles the attention kernels without a GPU, to check and to choose the table of configurations.

Run: python -m kernels.masked_attention.ahead_of_time     prints the table of configurations.py, about 15 minutes.
It takes, for each kernel, the first of an ordered list of tiles that neither spills registers nor exceeds the
shared memory, with ranks (the larger kernel).
"""

from __future__ import annotations

import sys

from kernels.ahead_of_time import SHARED_LIMIT_BYTES, Resources, compile_kernel, resources
from kernels.masked_attention.configurations import (
    ARCHITECTURES,
    BLOCK_KERNELS,
    ELEMENT_BYTES,
    HEAD_DIMS,
    TILE_KERNELS,
    Configuration,
)

_FLOAT32 = ("lse", "delta", "mean", "w")
_ELEMENTS = ("qkv", "out", "gradient", "cotangent", "d_qkv", "d_gradient")
_SCALARS = {"scale": "fp32", "scale_log2": "fp32", "tokens": "i32", "heads": "i32", "blocks": "i32"}


def compile_attention(
    name: str, to: Configuration, head_dim: int, element: str, architecture: int | str, has_rank: bool = True
):
    """Triton's compiled kernel `name`. element: bf16, fp16 or fp32; head_dim: any from 1 to 128."""
    from kernels.masked_attention import triton_blocks, triton_tile

    kernel = getattr(triton_tile if name in TILE_KERNELS else triton_blocks, name)
    types = dict.fromkeys(_FLOAT32, "*fp32") | dict.fromkeys(_ELEMENTS, f"*{element}") | _SCALARS
    types |= {"cu_seqlens": "*i32", "rank": "*i16" if has_rank else "*i32"}
    constants = {
        "D": head_dim,
        "BLOCK_D": max(16, 1 << (head_dim - 1).bit_length()),
        "BLOCK": to.block_m,
        "BLOCK_M": to.block_m,
        "BLOCK_N": to.block_n,
        "HAS_RANK": has_rank,
        "PRECISION": "tf32x3" if element == "fp32" and isinstance(architecture, int) else "ieee",
    }
    return compile_kernel(kernel, types, constants, architecture, num_warps=to.warps, num_stages=to.stages)


def attention_resources(
    name: str, to: Configuration, head_dim: int, element: str, architecture: int, has_rank: bool = True
) -> Resources:
    """Resources of the kernel `name` on NVIDIA."""
    return resources(compile_attention(name, to, head_dim, element, architecture, has_rank))


def candidates(name: str) -> list[list[Configuration]]:
    """Lists of alternatives, best first: one list for each size of a tile kernel, a single list for a block kernel.

    Blocks of 64 feed Hopper's matrix unit whole; two stages overlap loads with products.
    """
    if name in TILE_KERNELS:
        sizes = [(16, (1, 2)), (32, (2, 4)), (64, (4, 8)), (128, (8,))]
        largest = 64 if name == "double_tile" else 128
        return [[Configuration(n, n, w, 1) for w in warps] for n, warps in sizes if n <= largest]
    shapes = [(64, 32, 4, 2), (64, 32, 4, 1), (64, 32, 8, 1), (32, 32, 4, 1), (32, 16, 2, 1)]
    shapes += [(16, 32, 4, 1), (16, 32, 8, 1), (16, 16, 4, 1)]  # float32 at large head dimensions
    shapes.insert(0, (64, 64, 8, 2) if name.startswith("double") else (64, 64, 4, 2))
    if name == "forward_blocks":
        shapes.insert(0, (128, 64, 8, 2))
    swap = name.endswith("columns")  # these own BLOCK_N keys and sweep over BLOCK_M queries
    return [[Configuration(*((n, m) if swap else (m, n)), w, s) for m, n, w, s in shapes]]


def choose(
    name: str, alternatives: list[Configuration], head_dim: int, element_bytes: int, architecture: int
) -> Configuration | None:
    """The first alternative that fits the architecture without spills, or None."""
    element = "bf16" if element_bytes == 2 else "fp32"
    for to in alternatives:
        try:
            used = attention_resources(name, to, head_dim, element, architecture)
        except Exception as error:  # the compiler gives up on a tile by many kinds of error: say so, try the next
            print(f"# {name} {to} D{head_dim} {element} sm_{architecture}: {error!r}"[:200], file=sys.stderr)
            continue
        if used.spill_bytes == 0 and used.shared_bytes <= SHARED_LIMIT_BYTES[architecture]:
            return to
    return None


def main() -> None:
    """Prints the table: architecture, kernel, element bytes, then a cell for each head dimension."""
    for architecture in ARCHITECTURES:
        for name in TILE_KERNELS + BLOCK_KERNELS:
            for size in ELEMENT_BYTES:
                cells = []
                for head_dim in HEAD_DIMS:
                    chosen = (choose(name, a, head_dim, size, architecture) for a in candidates(name))
                    cells.append("/".join(str(to) for to in chosen if to is not None))
                print(f"{architecture:4d} {name:17s} {size}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
