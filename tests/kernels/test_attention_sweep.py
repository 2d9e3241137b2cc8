"""The sweep of launch configurations, as far as no card is needed: what it tries fits Hopper, and how it chooses."""

from __future__ import annotations

import pytest

from benchmarks import attention_sweep as sweep
from kernels.ahead_of_time import SHARED_LIMIT_BYTES
from kernels.masked_attention.ahead_of_time import attention_resources
from kernels.masked_attention.configurations import BLOCK_KERNELS, Configuration

SPILL_BYTES = 64  # a limit of registers may cost a few bytes and still gain another program per multiprocessor


def row(shape: str, kernel: str, configuration: str, ms: float | str, table: bool = False) -> dict:
    return {"shape": shape, "kernel": kernel, "configuration": configuration, "stage_ms": ms, "table": table}


def test_the_fastest_was_timed_on_every_shape_and_has_the_least_geometric_mean():
    rows = [row("b", "double_rows", "64x32w4s2", 1.0, True), row("c", "double_rows", "64x32w4s2", 4.0, True)]
    rows += [row("b", "double_rows", "64x64w4s1", 1.5), row("c", "double_rows", "64x64w4s1", 2.0)]
    rows += [row("b", "double_rows", "64x32w4s1", 0.1), row("c", "double_rows", "64x32w4s1", "")]
    rows += [row("b", "double_columns", "32x64w4s1", 0.2), row("c", "double_columns", "32x64w4s1", 0.2)]
    assert sweep.fastest(rows, "double_rows", ["b", "c"]) == "64x64w4s1"
    assert sweep.fastest(rows, "double_rows", ["b"]) == "64x32w4s1"
    assert sweep.fastest(rows, "backward_rows", ["b"]) is None


@pytest.mark.parametrize("kernel", BLOCK_KERNELS)
def test_candidates_differ_and_own_a_block_of_the_matrix_unit(kernel):
    found = sweep.candidates(kernel)
    assert len(set(found)) == len(found) >= 6
    assert min(to.block_n if kernel.endswith("columns") else to.block_m for to in found) == 64


def test_configurations_are_written_as_they_are_read():
    limited = Configuration(64, 32, 4, 2, 168)
    assert Configuration.parse("64x32w4s2r168") == limited and str(limited) == "64x32w4s2r168"
    assert limited.options == {"num_warps": 4, "num_stages": 2, "maxnreg": 168}
    assert "maxnreg" not in Configuration.parse("64x32w4s2").options
    with pytest.raises(ValueError, match="'text' must be written as 64x32w4s2 or 64x32w4s2r128. Got '64x32'."):
        Configuration.parse("64x32")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kernel", BLOCK_KERNELS)
def test_candidates_fit_hopper(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for to in sweep.candidates(kernel):
        for head_dim in (32, 64):
            used = attention_resources(kernel, to, head_dim, "bf16", 90, has_rank=False)
            assert used.shared_bytes <= SHARED_LIMIT_BYTES[90], f"{to} D{head_dim}: {used}"
            assert used.spill_bytes <= SPILL_BYTES and not used.serialized, f"{to} D{head_dim}: {used}"
