"""Cumulative sums with a fixed order equal torch's, gradients included."""

from __future__ import annotations

import pytest
import torch

from pipeline.model.sums import cumulative, doubled_sums


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 65, 100])
def test_doubled_sums_are_cumulative_sums(count):
    x = torch.randn(3, count, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, count, dtype=torch.float64)
    torch.testing.assert_close(doubled_sums(x), x.cumsum(-1))
    ours, theirs = (torch.autograd.grad((f(x) * weight).sum(), x)[0] for f in (doubled_sums, lambda x: x.cumsum(-1)))
    torch.testing.assert_close(ours, theirs)


def test_a_cpu_keeps_torchs_bits():
    x = torch.rand(5, 64)
    assert torch.equal(cumulative(x), x.cumsum(-1))
