"""The clock of a training with a time limit, and the schedule that follows it."""

from __future__ import annotations

import time

import pytest

from pipeline.base.model_groups import TrainParams
from pipeline.training.clock import Clock
from pipeline.training.schedule import learning_rate_factor


def test_without_a_limit_steps_alone_decide():
    clock = Clock(10, 0.0, time.perf_counter() - 1e6)
    assert clock.share(3) is None
    assert not clock.is_over(9)
    assert clock.is_over(10)


def test_with_a_limit_the_earlier_of_steps_and_seconds_ends_training():
    late = Clock(100, 10.0, time.perf_counter() - 11.0)
    assert late.share(1) == 1.0
    assert late.is_over(1)
    early = Clock(100, 1000.0, time.perf_counter() - 250.0)
    assert early.share(1) == pytest.approx(0.25, abs=0.01)
    assert early.share(90) == pytest.approx(0.9, abs=0.01)
    assert not early.is_over(99)
    assert early.is_over(100)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 1.0])
def test_the_schedule_by_share_equals_the_schedule_by_step(share):
    params = TrainParams(steps=1000, warmup_steps=0, decay_start=0.5)
    assert learning_rate_factor(params, 7, share) == pytest.approx(learning_rate_factor(params, int(share * 1000)))
