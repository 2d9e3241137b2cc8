"""The paper's simulations as modules: schedules, runs, landscapes, the comparison of BigLearn-EM."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.params import load_params, merge_params
from pipeline.simulate import tuned_schedule
from pipeline.simulation.em_comparison import METHODS, VARIANCE, compare, divergence_from_target, fit_one, sample_rows
from pipeline.simulation.gmm2 import Tasks, landscape
from pipeline.simulation.gmm25 import (
    COMPONENTS,
    JOINT_ONLY,
    MODES,
    PAPER,
    covered_modes,
    divergences,
    misshapen_components,
    run_seed,
    run_seeds,
)

TUNED = tuned_schedule(load_params().simulate)
EXACT = np.concatenate([MODES.T, np.full((2, COMPONENTS), 0.5 * math.log(0.05)), np.zeros((1, COMPONENTS))])

# 25-GMM


def test_the_tuned_schedule_finds_every_mode_within_the_papers_steps():
    assert TUNED.steps <= PAPER.steps == 200_000
    runs = run_seeds(TUNED, range(40, 44), threads=2)
    assert [run.covered_modes for run in runs] == [25] * 4
    assert max(run.kl_pq for run in runs) < 1e-6 and not any(run.misshapen for run in runs)


def test_joint_matching_alone_collapses():
    run = run_seed(replace(JOINT_ONLY, outer=1000), seed=0)
    assert run.covered_modes == 1 and abs(run.kl_pq - math.log(25)) < 0.01 and run.joint_tasks == 1000


def test_the_papers_schedule_loses_modes():
    run = run_seed(PAPER, seed=0)
    assert 20 <= run.covered_modes <= 24 and 0.03 < run.kl_pq < 0.3


def test_a_seeds_run_depends_on_nothing_else():
    schedule = replace(TUNED, outer=20, inner=5)
    alone = run_seed(schedule, 3)
    several = run_seeds(schedule, [5, 3, 4], threads=3, frames_at=[0, 7, 20])
    np.testing.assert_array_equal(several[1].parameters, alone.parameters)
    np.testing.assert_array_equal(several[1].frames[-1], alone.parameters)
    assert several[1].frames.shape == (3, 5, COMPONENTS) and alone.frames.shape == (0, 5, COMPONENTS)
    assert not np.array_equal(several[0].parameters, alone.parameters)


CORNERS = {
    "gmm25_lr": 2.0,
    "gmm25_lr_final": 2.0,
    "gmm25_samples": 1,
    "gmm25_gradient_limit": 20.0,
    "gmm25_scale_floor": 0.01,
}


@pytest.mark.parametrize(
    "changes",
    [
        CORNERS,
        CORNERS | {"gmm25_samples": 100},
        CORNERS | {"gmm25_joint_start": 0.0, "gmm25_joint_probability": 1.0},
        CORNERS | {"gmm25_samples": 100, "gmm25_joint_start": 0.0, "gmm25_joint_probability": 1.0},
        CORNERS | {"gmm25_samples": 100, "gmm25_scale_floor": 0.2},
    ],
)
def test_the_extremes_of_the_offered_settings_stay_finite(changes):
    schedule = tuned_schedule(merge_params({"simulate": changes | {"gmm25_outer": 100}}).simulate)
    for seed in range(3):
        run = run_seed(schedule, seed)
        assert np.isfinite([run.kl_pq, run.kl_qp]).all() and run.limited_entries > 0


def test_without_limits_a_large_step_leaves_the_finite_numbers_and_says_so():
    """What the floor and the limit are for: the authors' updates at lr 0.5 and above."""
    unlimited = replace(PAPER, lr=2.0, lr_final=2.0, outer=200, scale_floor=1e-30)
    message = (
        "25-GMM run of seed 0 left the finite numbers before task 200 (lr 2.0, scale_floor 1e-30, gradient_limit inf)"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        run_seed(unlimited, 0)


def test_step_sizes_fall_from_lr_to_lr_final():
    rates = TUNED.learning_rates()
    steady = int(TUNED.decay_start * TUNED.outer) - 1
    np.testing.assert_array_equal(rates[:steady], np.float32(TUNED.lr))
    assert (np.diff(rates[steady:]) <= 0).all() and rates[-1] == np.float32(TUNED.lr_final)
    assert (PAPER.learning_rates() == np.float32(0.1)).all()
    chance = PAPER.joint_probabilities()
    assert chance[4999] == 0 and chance[5000] == np.float32(0.1) and (JOINT_ONLY.joint_probabilities() == 1).all()


def test_scores_of_known_states():
    assert covered_modes(EXACT) == 25 and misshapen_components(EXACT) == 0
    np.testing.assert_allclose(divergences(EXACT), 0, atol=1e-10)
    collapsed = EXACT.copy()
    collapsed[:2] = MODES[:1].T
    assert covered_modes(collapsed) == 1 and abs(divergences(collapsed)[0] - math.log(25)) < 1e-4
    collapsed[2] += math.log(2)
    assert misshapen_components(collapsed) == 25
    moved = EXACT.copy()
    moved[0, 0] += 3 * math.sqrt(0.05) + 0.01
    assert covered_modes(moved) == 24


# 2-GMM


def minima_of(tasks, **changes):
    return landscape(tasks, **({"variance": 0.1, "grid": 60, "nodes": 32} | changes))


def test_joint_matching_has_two_spurious_minima_near_the_collapse():
    found = minima_of(Tasks.marginals([0.0]))
    assert len(found.spurious) == 2 and found.minima[0].value < 1e-9
    for minimum in found.spurious:
        assert abs(abs(minimum.first) - 1) < 0.1 and abs(minimum.first - minimum.second) < 0.15
        assert abs(minimum.value - 0.6907) < 1e-3 < math.log(2) and abs(minimum.barrier - 0.636) < 0.01


def test_marginals_have_shallower_minima_and_conditionals_none():
    params = load_params().simulate
    marginal = minima_of(Tasks.marginals(params.gmm2_marginal_angles_deg))
    assert len(marginal.spurious) == 2
    assert abs(marginal.spurious[0].value - 0.523) < 1e-3 and abs(marginal.spurious[0].barrier - 0.112) < 0.01
    tasks = Tasks.conditionals(params.gmm2_conditional_angles_deg, params.gmm2_conditional_values, 0.1)
    conditional = minima_of(tasks)
    assert len(tasks) == 49 and len(conditional.minima) == 1 and conditional.minima[0].value < 1e-9
    np.testing.assert_allclose((conditional.minima[0].first, conditional.minima[0].second), (-1, 1), atol=1e-3)


@pytest.mark.parametrize("nodes", [24, 64])
def test_minima_do_not_depend_on_the_quadrature(nodes):
    base, other = minima_of(Tasks.marginals([0.0])), minima_of(Tasks.marginals([0.0]), nodes=nodes)
    for one, two in zip(base.minima, other.minima, strict=True):
        np.testing.assert_allclose((one.first, one.second, one.value), (two.first, two.second, two.value), atol=2e-3)


def test_conditioning_values_are_in_units_of_the_reach():
    tasks = Tasks.conditionals([0.0, 90.0, 30.0], [-1.0, 0.5], 0.04)
    np.testing.assert_allclose(
        tasks[:, 2], [-0.6, 0.3, -1.6, 0.8, -(0.8 + 0.6 * math.sqrt(0.75)), 0.4 + 0.3 * math.sqrt(0.75)]
    )
    np.testing.assert_array_equal(tasks[:, 3], 1)
    result = minima_of(tasks, grid=5, nodes=8)
    np.testing.assert_allclose(result.angles_deg, [0, 0, 90, 90, 30, 30], atol=1e-12)
    np.testing.assert_array_equal(result.given, tasks[:, 2])


def test_empty_task_sets_are_named():
    with pytest.raises(ValueError, match="'angles_deg' must hold at least one angle. Got none."):
        Tasks.marginals([])
    with pytest.raises(ValueError, match="'values' must hold at least one conditioning value. Got none."):
        Tasks.conditionals([0.0], [], 0.1)


# BigLearn-EM on the 25 Gaussians


def test_biglearn_em_beats_em_on_the_same_steps():
    fits = compare([0, 1], rows=1000, outer=100, inner=10, covariance_prior=40.0, threads=2, methods=("em", "blem"))
    assert [(fit.method, fit.seed) for fit in fits] == [("em", 0), ("em", 1), ("blem", 0), ("blem", 1)]
    for em, model in zip(fits[:2], fits[2:], strict=True):
        assert model.kl_qp < 0.7 * em.kl_qp and model.covered_modes > em.covered_modes


def test_fits_do_not_depend_on_threads_or_company():
    arguments = {"rows": 300, "outer": 3, "inner": 2, "covariance_prior": 5.0}
    several = compare([4, 7], threads=2, methods=tuple(METHODS), **arguments)
    for fit in several:
        alone = fit_one(fit.seed, fit.method, **arguments)
        np.testing.assert_array_equal(fit.means, alone.means)
        assert fit.kl_qp == alone.kl_qp


def test_divergence_from_the_target_of_known_mixtures():
    share, covariance = np.full(COMPONENTS, 1 / COMPONENTS), np.tile(VARIANCE * np.eye(2), (COMPONENTS, 1, 1))
    assert divergence_from_target(share, MODES, covariance) < 1e-10
    rows = sample_rows(3, 50_000)
    wide = divergence_from_target(np.ones(1), np.zeros((1, 2)), np.cov(rows.T)[None])
    log_q = np.log(
        np.mean(np.exp(-((rows[:, None] - MODES) ** 2).sum(-1) / (2 * VARIANCE)), axis=1) / (2 * math.pi * VARIANCE)
    )
    log_p = -0.5 * (rows**2).sum(1) / np.cov(rows.T)[0, 0] - math.log(2 * math.pi * np.cov(rows.T)[0, 0])
    assert abs(wide - (log_q - log_p).mean()) < 0.02
