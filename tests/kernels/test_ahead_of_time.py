"""Kernels compiled for GPUs that are not there: registers do not spill, shared memory fits, matrix units are used."""

from __future__ import annotations

import pytest

from kernels.ahead_of_time import SHARED_LIMIT_BYTES, compile_kernel, resources
from kernels.masked_attention.ahead_of_time import STACK_BYTES, attention_resources, compile_attention
from kernels.masked_attention.configurations import (
    ARCHITECTURES,
    BLOCK_KERNELS,
    ELEMENT_BYTES,
    HEAD_DIMS,
    SAME_LOOP,
    TILE_KERNELS,
    block_configuration,
    tile_configuration,
)

ELEMENT = {2: "bf16", 4: "fp32"}
UNIT = {80: "HMMA", 90: "HGMMA", 100: "UTCHMMA"}  # the matrix instruction of each architecture, bfloat16
# Bytes a thread may spill, where float32 at the largest head dimension leaves no block without.
SPILL_BUDGET_BYTES = {
    (kernel, 4, 128): 400 for kernel in ("double_constants", "double_rows", "double_columns", "tangent_blocks")
}

# Registers of a thread and bytes of shared memory that the forward derivative may use, bfloat16, D = 64.
TANGENT_REGISTERS = {
    ("tangent_blocks", 80): 255, ("tangent_blocks", 90): 112, ("tangent_blocks", 100): 112,
    ("tangent_tile", 80): 168, ("tangent_tile", 90): 136, ("tangent_tile", 100): 168,
}  # fmt: skip
TANGENT_SHARED_BYTES = 64 * 1024


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.parametrize("kernel", TILE_KERNELS)
def test_a_tile_of_64_runs_on_hoppers_matrix_unit_without_spills(kernel):
    to = tile_configuration(kernel, 64, 64, 2, 90)
    assert to is not None
    used = attention_resources(kernel, to, 64, "bf16", 90)
    assert used.spill_bytes == 0
    assert used.shared_bytes <= 64 * 1024
    assert used.matrix.get("HGMMA", 0) > 0


@pytest.mark.parametrize("kernel", BLOCK_KERNELS)
def test_blocks_run_on_hoppers_matrix_unit_without_spills(kernel):
    used = attention_resources(kernel, block_configuration(kernel, 64, 2, 90), 64, "bf16", 90, has_rank=False)
    assert used.spill_bytes == 0
    assert not used.serialized
    assert used.shared_bytes <= SHARED_LIMIT_BYTES[90]
    assert used.matrix.get("HGMMA", 0) > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kernel", sorted(SAME_LOOP))
def test_the_forward_derivative_fits(kernel, architecture):
    """In the rows of the kernels whose loop it shares."""
    used = forward_derivative_resources(kernel, architecture)
    assert used.spill_bytes == 0
    assert not used.serialized
    assert used.registers <= TANGENT_REGISTERS[kernel, architecture]
    assert used.shared_bytes <= TANGENT_SHARED_BYTES
    assert sum(used.matrix.values()) > 0


def forward_derivative_resources(kernel: str, architecture: int):
    at = 64, 2, architecture
    if kernel.endswith("tile"):
        to = tile_configuration(kernel, 64, *at) or tile_configuration(kernel, 32, *at)
    else:
        to = block_configuration(kernel, *at)
    return attention_resources(kernel, to, 64, "bf16", architecture, has_rank=False)


@pytest.mark.parametrize("kernel", ["double_rows", "double_columns"])
def test_causal_blocks_do_not_spill(kernel):
    """The two kernels with the most registers; a masked loop for the diagonal stands beside the one without masks."""
    used = attention_resources(
        kernel, block_configuration(kernel, 64, 2, 90), 64, "bf16", 90, has_rank=False, causal=True
    )
    assert used.spill_bytes == 0
    assert not used.serialized
    assert used.shared_bytes <= SHARED_LIMIT_BYTES[90]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_causal_kernel_fits(architecture):
    for kernel in (*TILE_KERNELS, *BLOCK_KERNELS, *SAME_LOOP):
        for has_rank in (False, True):
            at = 64, 2, architecture
            to = tile_configuration(kernel, 32, *at) if kernel.endswith("tile") else block_configuration(kernel, *at)
            used = attention_resources(kernel, to, 64, "bf16", architecture, has_rank, causal=True)
            where = f"{kernel} {to} sm_{architecture} rank {has_rank}: {used}"
            assert used.spill_bytes <= STACK_BYTES and not used.serialized, where
            assert used.shared_bytes <= SHARED_LIMIT_BYTES[architecture], where


@pytest.mark.parametrize("architecture", [80, 100])
def test_a_tile_fits_other_architectures(architecture):
    to = tile_configuration("double_tile", 50, 32, 2, architecture)
    used = attention_resources("double_tile", to, 32, "bf16", architecture)
    assert used.spill_bytes == 0
    assert used.shared_bytes <= SHARED_LIMIT_BYTES[architecture]
    assert sum(used.matrix.values()) > 0


def test_the_forward_kernels_compile_for_amd():
    for kernel, to in (
        ("forward_tile", tile_configuration("forward_tile", 64, 64, 2, 80)),
        ("forward_blocks", block_configuration("forward_blocks", 64, 2, 80)),
    ):
        compiled = compile_attention(kernel, to, 64, "bf16", "gfx942")
        assert "mfma" in compiled.asm["amdgcn"]
        assert compiled.metadata.shared <= 64 * 1024


@pytest.mark.parametrize("name", ["losses_forward", "losses_double_backward"])
def test_loss_kernels_compile_without_spills(name):
    from kernels.discriminator_losses import triton_kernel

    kernel = getattr(triton_kernel, name)
    types = {n: "*fp32" for n in kernel.arg_names if n.islower()}
    types |= {"family": "*i64", "has_source": "*u8", "rows": "i32"}
    types |= dict.fromkeys(("adversarial_weight", "mismatch_weight", "communication_weight"), "fp32")
    constants = {"KIND": 0, "GENERATOR": False, "FAMILIES": 16, "BLOCK": triton_kernel.BLOCK}
    constants |= dict.fromkeys(("HAS_MISMATCHED", "HAS_SOURCE", "HAS_CROSS"), True)
    used = resources(compile_kernel(kernel, types, constants, 90, num_warps=8))
    assert used.spill_bytes == 0
    assert used.shared_bytes <= 8 * 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kernel", (*TILE_KERNELS, *BLOCK_KERNELS, *SAME_LOOP))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_entry_of_the_table_fits(architecture, kernel):
    for size in ELEMENT_BYTES:
        for head_dim in HEAD_DIMS:
            if kernel.endswith("tile"):
                found = {tile_configuration(kernel, n, head_dim, size, architecture) for n in (16, 32, 64, 128)} - {
                    None
                }
            else:
                found = {block_configuration(kernel, head_dim, size, architecture)}
            for to in found:
                used = attention_resources(kernel, to, head_dim, ELEMENT[size], architecture)
                where = f"{kernel} {to} D{head_dim} {ELEMENT[size]} sm_{architecture}: {used}"
                if architecture == 90 or (size == 2 and head_dim <= 64):  # the rest of the table follows a rule alone
                    assert used.spill_bytes <= SPILL_BUDGET_BYTES.get((kernel, size, head_dim), STACK_BYTES), where
                    assert not used.serialized or head_dim == 16, where  # of one instruction a product, none waits
                assert used.shared_bytes <= SHARED_LIMIT_BYTES[architecture], where
                if size == 2 and min(to.block_m, to.block_n) >= 64 and architecture in (80, 90):
                    assert used.matrix.get(UNIT[architecture], 0) > 0, where
