"""The optimiser's update is torch.optim's, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.training.adam import FlatAdam


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_updates_equal_those_of_torch(weight_decay):
    torch.manual_seed(0)
    own, theirs = (nn.Parameter(torch.linspace(-1, 1, 1003)) for _ in range(2))
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam
    reference = kind([theirs], lr=0.1, betas=(0.5, 0.99), weight_decay=weight_decay, fused=True)
    adam = FlatAdam(own, 0.1, (0.5, 0.99), weight_decay)
    for step in range(7):
        own.grad = theirs.grad = torch.randn(1003)
        bad = torch.tensor(float(step == 3))  # a step that is skipped
        adam.found_inf = reference.found_inf = bad
        adam.param_groups[0]["lr"] = reference.param_groups[0]["lr"] = 0.1 / (step + 1)
        before = own.detach().clone()
        adam.step()
        reference.step()
        assert torch.equal(own, theirs) and torch.equal(own, before) == (step == 3)
    for name, value in reference.state[theirs].items():
        assert torch.equal(adam.state[own][name], value), name
