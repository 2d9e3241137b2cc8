"""CUDA graphs of the training step on a card: they replay what the step does, with its random numbers, for every task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.base.model_groups import TrainParams
from pipeline.base.params import merge_params
from pipeline.training.build import build_step
from pipeline.training.graphs import WARM_UPS, GraphedStep
from pipeline.training.step import TrainingStep
from tests.helpers.graph_case import EARLIER, MIXTURE, NETWORK, SCHEMA, make_reader
from tests.helpers.training_case import ADVERSARIAL

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


def make_step(**changes) -> TrainingStep:
    network = replace(NETWORK, **{k: changes.pop(k) for k in ("choice_passes", "convolution_channels") if k in changes})
    settings = {"steps": 100, "minibatch_group": 4, "warmup_steps": 4, "penalty_interval": 2, "autocast": "none"}
    settings |= {**ADVERSARIAL, **EARLIER}
    params = replace(merge_params({}), network=network, train=TrainParams(**(settings | changes)))
    return build_step(params, SCHEMA, CUDA, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mismatch_final_weight": 0.0, "mismatch_decay_end": 0.05},
        {"communication_weight": 0.5},
        {"adversarial_weight": 0.0, "continuous_likelihood_weight": 1.0, "continuous_error": "squared"},
        {"autocast": "bfloat16"},
        {"choice_passes": 3},
        {"energy_weight": 1.0, "adversarial_start": 0.05},
        {"convolution_channels": 4, "autocast": "bfloat16"},
    ],
    ids=[
        "default",
        "mismatch ends",
        "communication",
        "likelihood",
        "bfloat16",
        "choice passes",
        "energy score",
        "refinement",
    ],
)
def test_graphs_replay_the_step(tmp_path, changes):
    reader = make_reader(tmp_path, MIXTURE, pairs="communication_weight" in changes)
    plain, graphed = make_step(**changes), GraphedStep(make_step(**changes))
    loose = 0.05 if "autocast" in changes else 0.005
    for step in range(6 * WARM_UPS):
        batch = reader(step).to(CUDA)
        losses, statistics = plain(batch, step, noise_seed=step)
        found, same = graphed(batch, step, noise_seed=step)
        assert found.keys() == losses.keys()
        for name, value in losses.items():
            torch.testing.assert_close(found[name], value, rtol=loose, atol=loose, msg=lambda m, n=name: f"{n}: {m}")
        assert (statistics is None) == (same is None)
    assert graphed.graphs, "no graph was captured"
    moved = plain.flat_g.values - make_step(**changes).flat_g.values
    difference = graphed.state.flat_g.values - plain.flat_g.values
    assert difference.norm() <= (0.3 if "autocast" in changes else 0.05) * moved.norm()


def test_a_graph_skips_an_update_that_is_not_finite(tmp_path):
    reader = make_reader(tmp_path, MIXTURE)
    graphed = GraphedStep(make_step(penalty="none"))
    batch = reader(0).to(CUDA)  # one batch: others could ask for more room, which captures anew
    for step in range(2 * WARM_UPS):
        graphed(batch, step, noise_seed=step)
    assert graphed.graphs
    before = graphed.state.flat_g.values.clone()
    graphed(replace(batch, features=torch.full_like(batch.features, torch.inf)), 7, noise_seed=7)
    assert torch.equal(before, graphed.state.flat_g.values)
    assert int(graphed.state.non_finite) == 2
    graphed(batch, 8, noise_seed=8)
    assert int(graphed.state.non_finite) == 0 and not torch.equal(before, graphed.state.flat_g.values)
