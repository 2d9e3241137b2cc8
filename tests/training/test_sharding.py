"""Flat buffers cut into parts: every parameter has one owner, and one process that keeps all of it changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.training.flat import FlatParameters
from pipeline.training.sharding import Replicated, Sharded
from tests.helpers.training_case import random_batch, training_step


def module(sizes: list[int]) -> nn.Module:
    torch.manual_seed(0)
    return nn.ParameterList([nn.Parameter(torch.randn(n)) for n in sizes])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 7))
def test_the_parts_are_the_whole(sizes, parts):
    flats = [FlatParameters(module(sizes), part, parts) for part in range(parts)]
    whole = flats[0].values[: sum(sizes)]
    assert torch.equal(whole, torch.cat([p.detach() for p in module(sizes)]))
    assert torch.equal(torch.cat([f.own_values for f in flats])[: len(whole)], whole)
    assert torch.equal(torch.cat([f.cut(whole) for f in flats]), flats[0].values)
    assert len({len(f.own_values) for f in flats}) == 1 and len(flats[0].values) % parts == 0
    for f in flats:
        assert f.count == sum(sizes) and f.leaf.data_ptr() == f.own_values.data_ptr()
        assert not f.values[f.count :].any()


def test_parts_updated_one_by_one_end_where_the_whole_does():
    """Adam works element by element: the parts' updates put together are the update of all parameters."""
    gradient = torch.randn(11, generator=torch.Generator().manual_seed(1))
    updated = []
    for parts in (1, 3):
        flats = [FlatParameters(module([4, 7]), part, parts) for part in range(parts)]
        for f in flats:
            adam = f.adam(0.1, 0.99)
            f.gradients[:11] = gradient
            for _ in range(3):
                f.clip(gradient.norm(), 0.5)
                adam.step()
        updated.append(torch.cat([f.own_values for f in flats])[:11])
    torch.testing.assert_close(updated[0], updated[1], rtol=0, atol=1e-7)
    assert not torch.equal(updated[0], torch.cat([p.detach() for p in module([4, 7])]))


def test_one_process_keeps_everything():
    state = training_step("reference", "cpu")
    state(random_batch(16), 0, 3)
    assert isinstance(state.sharing, Replicated)
    assert state.averaged_generator() is state.average
    assert state.own_average is state.flat_average.values
    assert state.sharing.collect(state.flat_g, state.own_average) is state.own_average


@pytest.mark.parametrize("part", [-1, 2])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(ValueError, match=f"'part' must lie between 0 and 1. Got {part}."):
        Sharded(part, 2)
