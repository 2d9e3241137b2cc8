"""The energy score as a loss: proper, differentiated right, the same in several processes, in graphs and in bfloat16."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.task_sampling import HIDDEN, SOURCE, TARGET, TaskBank, write_bank
from pipeline.base.data_groups import TasksParams
from pipeline.base.model_groups import NetworkParams, TrainParams
from pipeline.base.params import merge_params
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.model.noise import RowNoise
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.rows.tokens import Token
from pipeline.training.batches import BatchReader
from pipeline.training.build import build_step
from pipeline.training.draws import draws_of
from pipeline.training.graphs import FixedStep
from pipeline.training.losses import energy_scores
from pipeline.training.schedule import adversarial_share, energy_weight
from pipeline.training.step import TrainingStep

SCHEMA = image_label_schema(8, 8, 1, 2, 0.0, 16.0, list("abc"))
NETWORK = NetworkParams(width=16, depth=2, heads=2, noise_width=4, convolution_channels=4)
MIXTURE = {"joint": 1.0, "modality": 1.0, "beta_random": 1.0}
ALONE = {"energy_weight": 2.0, "body_start": 0.0, "adversarial_start": 1.0}
CONTEXT = {**ALONE, "body_start": 0.5}
BOTH = {"energy_weight": 2.0, "energy_final_weight": 0.5, "adversarial_start": 0.03}


def make_reader(folder, process: int = 0, processes: int = 1) -> BatchReader:
    bank = folder / "bank"
    if not bank.exists():
        write_bank(bank, spec_from_schema(TasksParams(weights=MIXTURE, target_beta=[1.0, 1.0]), SCHEMA), 512, 3, 0)
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.integers(0, 17, (64, 64)), rng.integers(0, 3, (64, 1))], 1).astype(np.float32)
    return BatchReader(rows, SCHEMA, TaskBank.open(bank), 16, 1, process, processes, minibatch_group=4)


def make_step(**changes) -> TrainingStep:
    train = TrainParams(**{"steps": 100, "minibatch_group": 4, "warmup_steps": 4, "penalty_interval": 2, **changes})
    return build_step(replace(merge_params({}), network=NETWORK, train=train), SCHEMA, torch.device("cpu"), 0)


def slow_scores(one: torch.Tensor, other: torch.Tensor, data: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """The definition, row by row."""
    out = []
    for a, b, x, c in zip(one, other, data, counted, strict=True):
        a, b, x = a[c], b[c], x[c]
        root = max(1, int(c.sum())) ** 0.5
        out.append(0.5 * ((a - x).norm() + (b - x).norm() - (a - b).norm()) / root)
    return torch.stack(out)


def test_value_and_gradient_match_the_slow_definition():
    torch.manual_seed(0)
    one, other, data = (torch.randn(7, 9, dtype=torch.float64) for _ in range(3))
    counted = torch.rand(7, 9) < 0.6
    counted[2] = False
    data[~counted] = torch.nan  # missing cells and hidden tokens
    found, expected = [], []
    for function, out in ((energy_scores, found), (slow_scores, expected)):
        a, b = one.clone().requires_grad_(True), other.clone().requires_grad_(True)
        score = function(a, b, data, counted)
        (score * torch.arange(1.0, 8.0)).sum().backward()
        out += [score.detach(), torch.nan_to_num(a.grad), torch.nan_to_num(b.grad)]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=2e-4)
    assert found[0][2] == 0 and (found[1][~counted] == 0).all()


def test_equal_draws_have_a_finite_gradient():
    a = torch.zeros(2, 3, requires_grad=True)
    energy_scores(a, a * 1.0, torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("wrong", ["mean", "spread", "dependence"])
def test_the_true_conditional_scores_best(wrong):
    """Two correlated normals: a shifted, a blunted and an independent forecast must all score worse than the truth."""
    noise = torch.Generator().manual_seed(0)

    def normal(n: int, correlation: float = 0.8) -> torch.Tensor:
        z = torch.randn(n, 2, generator=noise)
        return torch.stack([z[:, 0], correlation * z[:, 0] + (1 - correlation**2) ** 0.5 * z[:, 1]], 1)

    forecast = {
        "mean": lambda n: normal(n) + 0.3,
        "spread": lambda n: 0.6 * normal(n),
        "dependence": lambda n: normal(n, correlation=-0.2),
    }[wrong]
    n = 200_000
    data, counted = normal(n), torch.ones(n, 2, dtype=torch.bool)
    truth = energy_scores(normal(n), normal(n), data, counted).mean()
    assert energy_scores(forecast(n), forecast(n), data, counted).mean() > truth + 2e-3


def number(name: str, column: int) -> Token:
    return Token(name, "numeric", name, (column,), 1)


def test_a_generator_learns_known_conditionals():
    """y = ±x with equal odds, and noise: mean and spread of p(y | x) depend on x, which a mean alone would not tell."""
    schema = Schema((number("x", 0), number("y", 1)), columns=("x", "y"))
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.5, 4096)
    data = torch.tensor(np.stack([x, x * rng.choice([-1, 1], 4096) + 0.1 * rng.normal(size=4096)], 1)).float()
    torch.manual_seed(0)
    network = Generator(schema, NetworkParams(width=32, depth=1, heads=2, noise_width=8))
    adam = torch.optim.Adam(network.parameters(), 2e-3)
    role = torch.tensor([[SOURCE, TARGET]]).repeat(256, 1)
    noise = torch.Generator().manual_seed(0)
    for step in range(400):
        rows = data[torch.arange(256) + 256 * (step % 16)]
        drawn, second = network.twice(rows, role, noise)
        loss = energy_scores(drawn.features, second, rows, role[:, [0, 1]] == TARGET).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    network.eval()
    for given in (0.7, 1.3):
        rows = torch.tensor([[given, 0.0]]).repeat(256, 1)
        y = network(rows, role, torch.Generator().manual_seed(1)).features[:, 1].detach()
        assert abs(float(y.mean())) < 0.25 and abs(float(y.std()) - given) < 0.25
        assert float(((y.abs() - given).abs() < 0.35).float().mean()) > 0.7, "two modes, and little between them"


def test_second_draws_are_of_the_same_task_with_other_noise():
    torch.manual_seed(0)
    network = Generator(SCHEMA, NETWORK)
    network.teaches = True
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.integers(0, 17, (6, 64)), rng.integers(0, 3, (6, 1))], 1)
    x = torch.from_numpy(SCHEMA.encode(rows))
    role = torch.tensor(rng.integers(0, 3, (6, SCHEMA.n_tokens)))
    role[:, 0], role[:, -1] = HIDDEN, TARGET
    drawn, second = network.twice(x, role, torch.Generator().manual_seed(0))
    of = role[:, SCHEMA.token_of_feature]
    label = torch.as_tensor(SCHEMA.token_of_feature) == SCHEMA.n_tokens - 1
    targets, sources = (of == TARGET) & ~label, of == SOURCE
    assert (drawn.features[targets] != second[targets]).all()
    assert torch.equal(drawn.features[sources], x[sources]) and torch.equal(second[sources], x[sources])
    assert torch.equal(drawn.features[:, label], x[:, label]), "the true category is taught"
    assert (second[of == HIDDEN] == 0).all()


def test_noise_of_both_draws_is_that_of_the_whole_batch():
    whole = torch.randn(8, 3, generator=torch.Generator().manual_seed(5))
    places = torch.tensor([1, 3])
    noise = RowNoise(torch.Generator().manual_seed(5), 4, places).twice()
    drawn = torch.randn((noise.batch_size, 3), generator=noise.generator)[noise.rows]
    assert torch.equal(drawn, whole[[1, 3, 5, 7]])


@pytest.mark.parametrize("changes", [ALONE, BOTH, CONTEXT])
def test_processes_together_do_what_one_does(tmp_path, changes):
    """The average of two processes' gradients is that of one: with different numbers of rows that count."""
    plan_of = make_step(**changes)
    whole, parts = make_step(**changes), [make_step(**changes) for _ in range(2)]
    readers = [make_reader(tmp_path, k, 2) for k in range(2)]
    at = next(i for i in range(20) if len({r(i).counts.rows for r in readers}) > 1)  # unequal parts
    batches = [r(at) for r in readers]
    means = [sum(getattr(b.counts, n) for b in batches) / 2 for n in ("sources", "discrete", "continuous", "rows")]
    for k, batch in enumerate(batches):
        own = [getattr(batch.counts, n) for n in ("sources", "discrete", "continuous", "rows")]
        batches[k] = replace(batch, relative=type(batch.counts)(*(a / m for a, m in zip(own, means, strict=True))))
    step = 9 if changes is BOTH else 0
    assert plan_of.plan(step).adversarial == (changes is BOTH)
    for state, batch in ((whole, make_reader(tmp_path)(at)), *zip(parts, batches, strict=True)):
        noise = RowNoise(torch.Generator().manual_seed(3), 16, batch.places)
        draws = draws_of(state.generator, batch, state.plan(step), state.params, noise, twice=state.scored)
        state.flat_g.gradients.zero_()
        state._generator_loss(batch, draws, state.plan(step), None)[0].backward()
    average = (parts[0].flat_g.gradients + parts[1].flat_g.gradients) / 2
    torch.testing.assert_close(average, whole.flat_g.gradients, rtol=1e-4, atol=1e-6)


def test_fixed_shapes_give_the_same_step(tmp_path):
    """As CUDA graphs capture it, before and after the discriminator's first turn."""
    reader, exact, fixed_state = make_reader(tmp_path), make_step(**BOTH), make_step(**BOTH)
    fixed, kinds = FixedStep(fixed_state), set()
    for step in (1, 2, 3):
        losses, _ = exact(reader(step), step, noise_seed=step)
        plan = fixed_state.plan(step)
        kinds.add(plan.adversarial)
        fixed.load(reader(step), plan, noise_seed=step)
        found, _ = fixed.run(plan)
        assert found.keys() == losses.keys() and "energy_score" in found
        for name, value in losses.items():
            torch.testing.assert_close(found[name], value, rtol=2e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert kinds == {False, True}


def test_runs_under_bfloat16(tmp_path):
    batch = make_reader(tmp_path)(0)
    exact, half = make_step(**BOTH), make_step(**BOTH, autocast="bfloat16")
    assert half.autocast
    for step in (0, 9):
        one, other = exact(batch, step, 1)[0]["energy_score"], half(batch, step, 1)[0]["energy_score"]
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, one, rtol=0.05, atol=0.01)


def test_the_discriminator_rests_until_its_turn(tmp_path):
    reader, state = make_reader(tmp_path), make_step(energy_weight=1.0, adversarial_start=0.5)
    before = state.flat_d.values.clone()
    losses, statistics = state(reader(0), 49, 0)
    assert statistics is None and "discriminator_loss" not in losses and torch.equal(before, state.flat_d.values)
    losses, statistics = state(reader(0), 50, 0)
    assert statistics is not None and not torch.equal(before, state.flat_d.values)


def test_schedule_of_the_weight():
    params = TrainParams(energy_weight=2.0, energy_final_weight=1.0, adversarial_start=0.5)
    assert [energy_weight(params, s) for s in (0.0, 0.5, 0.75, 1.0)] == [2.0, 2.0, 1.5, 1.0]
    assert [adversarial_share(params, s) for s in (0.0, 0.5, 1.0)] == [-1.0, 0.0, 1.0]
    assert adversarial_share(TrainParams(adversarial_start=1.0), 1.0) < 0


def test_without_a_continuous_token_it_is_no_term():
    schema = image_label_schema(4, 4, 1, 2, 0.0, 16.0, list("ab"))
    labels = tuple(replace(t, columns=(0,)) for t in schema.tokens if t.modality == "categorical")
    schema = Schema(labels, columns=("label",))
    torch.manual_seed(0)
    generator = Generator(schema, NETWORK)
    critic = Discriminator(schema, NETWORK, minibatch_group=4)
    state = TrainingStep(generator, critic, deepcopy(generator), TrainParams(minibatch_group=4, energy_weight=1.0))
    assert not state.scored
