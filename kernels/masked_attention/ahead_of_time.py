"""Compiles the attention kernels without a GPU, to check and to choose the table of configurations.

Run: python -m kernels.masked_attention.ahead_of_time [80 90 100]    prints the table of configurations.py, about five
minutes an architecture. It takes, for each kernel, the first of an ordered list of tiles that neither spills registers
nor exceeds the shared memory, with ranks (the larger kernel).
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
    TILE_SIZES,
    Configuration,
)

STACK_BYTES = 16  # a slot or two that the compiler keeps on the stack, not a spill of the loop
_FLOAT32 = ("lse", "delta", "mean", "w")
_ELEMENTS = ("qkv", "out", "gradient", "cotangent", "tangent", "d_qkv", "d_gradient", "d_out")
_SCALARS = {"scale": "fp32", "scale_log2": "fp32", "tokens": "i32", "heads": "i32", "blocks": "i32"}


def compile_attention(
    name: str,
    to: Configuration,
    head_dim: int,
    element: str,
    architecture: int | str,
    has_rank: bool = True,
    causal: bool = False,
):
    """Triton's compiled kernel `name`. element: bf16, fp16 or fp32; head_dim: any from 1 to 128."""
    from kernels.masked_attention import triton_blocks, triton_tile

    kernel = getattr(triton_tile if name.endswith("tile") else triton_blocks, name)
    types = dict.fromkeys(_FLOAT32, "*fp32") | dict.fromkeys(_ELEMENTS, f"*{element}") | _SCALARS
    types |= {"cu_seqlens": "*i32"} | dict.fromkeys(("rank", "key_rank"), "*i16" if has_rank else "*i32")
    constants = {
        "D": head_dim,
        "BLOCK_D": max(16, 1 << (head_dim - 1).bit_length()),
        "BLOCK": to.block_m,
        "BLOCK_M": to.block_m,
        "BLOCK_N": to.block_n,
        "HAS_RANK": has_rank,
        "CAUSAL": causal,
        "PRECISION": "tf32x3" if element == "fp32" and isinstance(architecture, int) else "ieee",
    }
    return compile_kernel(kernel, types, constants, architecture, **to.options)


def attention_resources(
    name: str,
    to: Configuration,
    head_dim: int,
    element: str,
    architecture: int,
    has_rank: bool = True,
    causal: bool = False,
) -> Resources:
    """Resources of the kernel `name` on NVIDIA."""
    return resources(compile_attention(name, to, head_dim, element, architecture, has_rank, causal))


def candidates(name: str) -> list[list[Configuration]]:
    """Lists of alternatives, best first: one list for each of TILE_SIZES, or a single one for a block kernel.

    The order was measured on an H200, bfloat16, D = 64 (benchmarks/attention_sweep.py): 64 queries against 32 keys
    with 4 warps beat whole blocks of 64 with 8 by a quarter in the double backward, which is short of registers.
    """
    if name in TILE_KERNELS:
        warps = {16: (1, 2), 32: (2, 4), 64: (4, 8), 128: (8,)}
        largest = 64 if name == "double_tile" else 128
        return [[Configuration(n, n, w, 1) for w in warps[n]] if n <= largest else [] for n in TILE_SIZES]
    shapes = {"forward_blocks": [(64, 64, 4, 3), (64, 64, 4, 2)], "backward_rows": [(64, 64, 4, 2)]}.get(name, [])
    shapes += [(64, 32, 4, 2), (64, 32, 4, 1), (64, 32, 8, 1), (32, 32, 4, 1), (32, 16, 2, 1)]
    shapes += [(16, 32, 4, 1), (16, 32, 8, 1), (16, 16, 4, 1)]  # float32 at large head dimensions
    swap = name.endswith("columns")  # these own BLOCK_N keys and sweep over BLOCK_M queries
    return [[Configuration(*((n, m) if swap else (m, n)), w, s) for m, n, w, s in shapes]]


def choose(
    name: str, alternatives: list[Configuration], head_dim: int, element_bytes: int, architecture: int
) -> tuple[Configuration | None, int]:
    """(alternative, its spilled bytes): the first that fits the architecture without spills, else the one that spills
    least; None if none fits."""
    element = "bf16" if element_bytes == 2 else "fp32"
    least, best = None, sys.maxsize
    for to in alternatives:
        try:
            used = attention_resources(name, to, head_dim, element, architecture)
        except Exception as error:  # the compiler gives up on a tile by many kinds of error: say so, try the next
            print(f"# {name} {to} D{head_dim} {element} sm_{architecture}: {error!r}"[:200], file=sys.stderr)
            continue
        if used.serialized and head_dim > 16:  # below, a product is one instruction and each is a group
            continue
        if used.shared_bytes <= SHARED_LIMIT_BYTES[architecture] and used.spill_bytes < best:
            least, best = to, used.spill_bytes if used.spill_bytes > STACK_BYTES else 0
        if best == 0:
            break
    return least, best


def cell(name: str, head_dim: int, element_bytes: int, architecture: int) -> str:
    """One cell of the table: a tile that spills counts as none, since blocks take its rows."""
    chosen = [choose(name, a, head_dim, element_bytes, architecture) for a in candidates(name)]
    if name in TILE_KERNELS:
        return "/".join("-" if to is None or spill else str(to.warps) for to, spill in chosen)
    to, spill = chosen[0]
    if spill:
        print(f"# {name} {to} D{head_dim} {element_bytes} sm_{architecture} spills {spill}", file=sys.stderr)
    return str(to)


def main() -> None:
    """Prints the table: architecture, kernel, element bytes, then a cell for each head dimension."""
    wanted = [int(a) for a in sys.argv[1:]] or ARCHITECTURES
    for architecture in wanted:
        for name in TILE_KERNELS + BLOCK_KERNELS:
            for size in ELEMENT_BYTES:
                cells = "  ".join(f"{cell(name, d, size, architecture):10s}" for d in HEAD_DIMS)
                print(f"{architecture:4d} {name:16s} {size}  {cells.rstrip()}", flush=True)


if __name__ == "__main__":
    main()
