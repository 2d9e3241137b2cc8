"""Compiles Triton kernels for a GPU that is not there, and reads what they will use of it.

Needs triton and its bundled NVIDIA tools, no driver. Must not run in a process with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Shared memory a block may use, bytes. 80 stands for every consumer card too (8.6, 8.9, 12.0): 99 KiB.
SHARED_LIMIT_BYTES = {80: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}
_MATRIX = re.compile(r"\b(HGMMA|HMMA|QGMMA|UTCHMMA|UTCQMMA|UTCMMA|IMMA)")


@dataclass(frozen=True)
class Resources:
    """What one compiled kernel uses. spill_bytes: local memory per thread; matrix: matrix instructions by name;
    serialized: the assembler lets every asynchronous one of Hopper wait for the last (ptxas calls it C7515), which it
    does to a whole kernel where a branch before a loop writes what the loop accumulates.
    """

    registers: int
    spill_bytes: int
    shared_bytes: int
    matrix: dict[str, int]
    serialized: bool


def compile_kernel(kernel, types: dict[str, str], constants: dict[str, object], architecture: int | str, **options):
    """Triton's compiled kernel. types: Triton type of each run-time argument, as '*bf16' or 'i32'; constants: values
    of the tl.constexpr ones; architecture: 80, 90, 100 for NVIDIA or 'gfx942'; options: num_warps, num_stages.
    Pointers are taken to be aligned to 16 bytes, as torch allocates them.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    signature = {n: types.get(n, "constexpr") for n in names}
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(n),): v for n, v in constants.items() if n in names},
        attrs={(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n].startswith("*")},
    )
    amd = isinstance(architecture, str)
    target = GPUTarget("hip", architecture, 64) if amd else GPUTarget("cuda", architecture, 32)
    return triton.compile(source, target=target, options=options)


def resources(compiled) -> Resources:
    """Resources of a kernel compiled for NVIDIA, from its cubin."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = _cuobjdump("-res-usage", file.name)
        code = _cuobjdump("-sass", file.name)
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"cuobjdump printed no register usage: {usage[:200]!r}")
    matrix: dict[str, int] = {}
    for name in _MATRIX.findall(code):
        matrix[name] = matrix.get(name, 0) + 1
    groups = len(re.findall(r"\bHGMMA\b.*gsb0", code))  # a group of products ends with this barrier
    serialized = 1 < groups == matrix.get("HGMMA", 0)
    return Resources(int(found[1]), int(found[2]), compiled.metadata.shared, matrix, serialized)


def _cuobjdump(flag: str, file: str) -> str:
    from triton.backends import nvidia

    tool = Path(nvidia.__file__).parent / "bin" / "cuobjdump"
    return subprocess.run([tool, flag, file], capture_output=True, text=True, check=True).stdout
