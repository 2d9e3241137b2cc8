"""One training step of BigLearn-GAN: the discriminator's turn, then the generator's.

    min_θ max_φ E_{q(S,T)} { E_q log σ(f_φ(x; S, T)) + E_{p_θ(x_T|x_S) q(x_S)} log σ(−f_φ(x; S, T)) }

in a non-saturating, relativistic or hinge form, with mismatched-source negatives, the communication
loss, R1 and R2, the likelihood route, and the energy score of two draws. Source: arXiv 2407.21319, equations 5 and 6.

A generated batch serves both turns, and the relativistic generator compares it with the real logits
of the discriminator's turn: one generator pass and one discriminator pass fewer a step.

Shapes: B rows of this process, L tokens, F features.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from kernels.discriminator_losses import FamilyStatistics, discriminator_losses, generator_losses
from kernels.task_sampling import FAMILIES, HIDDEN, SOURCE, TARGET
from pipeline.base.model_groups import TrainParams
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.model.noise import RowNoise, draw
from pipeline.training.adam import FlatAdam
from pipeline.training.batches import Batch, Counts
from pipeline.training.choices import choice_terms, kinds_of
from pipeline.training.draws import Draws, draws_of
from pipeline.training.flat import FlatParameters
from pipeline.training.input_gradient import BlockCalls, input_gradient
from pipeline.training.losses import (
    approximate_penalty,
    energy_scores,
    exact_penalty,
    likelihood_terms,
    mismatched_source,
)
from pipeline.training.schedule import Plan, plan_of
from pipeline.training.sharding import Replicated, Sharing

Losses = dict[str, Tensor]


class NonFiniteError(RuntimeError):
    """Too many steps in a row produced a loss or gradient that is not finite."""


class TrainingStep:
    """Holds both networks, their optimisers and the averaged generator; called once a step.

    sharing: who of several processes keeps what. average: None where the processes share the averaged weights out;
    `averaged_generator` puts them together.
    """

    NON_FINITE_LIMIT = 10  # steps in a row that may be skipped

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        average: Generator | None,
        params: TrainParams,
        *,
        autocast: bool = False,
        sharing: Sharing | None = None,
    ) -> None:
        self.generator, self.discriminator, self.average = generator, discriminator, average
        self.params, self.sharing = params, sharing or Replicated()
        place = self.sharing.part, self.sharing.parts
        self.flat_g, self.flat_d = FlatParameters(generator, *place), FlatParameters(discriminator, *place)
        self.flat_average = None if average is None else FlatParameters(average)
        if self.flat_average is not None:
            self.flat_average.require_gradients(False)
        self.own_average = self.flat_g.own_values.clone() if average is None else self.flat_average.values
        self.adam_g = self.flat_g.adam(params.lr, params.beta2, params.beta1, params.weight_decay)
        self.adam_d = self.flat_d.adam(params.lr, params.beta2, params.beta1)
        generator.straight_through = params.straight_through or params.likelihood_weight == 0
        if generator.straight_through and generator.choice_passes > 1:
            raise ValueError(
                "'network.choice_passes' must be 1 where the adversarial loss teaches the choices (train.straight_through, "
                f"or train.likelihood_weight 0). Got {generator.choice_passes}."
            )
        self.scored = max(params.energy_weight, params.energy_final_weight) > 0 and not bool(generator.discrete.all())
        if not self.scored or generator.context is None:  # nothing would learn before the transformer
            self.params = replace(params, body_start=0.0)
        generator.teaches = self.scored and not generator.straight_through
        self.autocast = autocast
        self.started = False  # a discriminator's turn in this process: Adam is asked once, which waits for the device
        self.block_calls: BlockCalls | None = None  # compiled; None: the penalty is eager
        self.kinds = kinds_of(generator.body.groups, generator.spacing)
        self.non_finite = torch.zeros((), device=self.flat_g.values.device)  # updates in a row that were skipped

    def __call__(
        self, batch: Batch, step: int, noise_seed: int, share: float | None = None
    ) -> tuple[Losses, FamilyStatistics | None]:
        """(detached losses by name, per-family statistics of the discriminator or None) of step `step`.

        noise_seed: seeds every random draw of this step, the same in every process. share: of the training that lies
        behind, in [0, 1]; None: step / steps. Raises NonFiniteError.
        """
        generator = torch.Generator(device=batch.features.device).manual_seed(noise_seed)
        found = self.advance(batch, self.plan(step, share), generator)
        if batch.features.device.type == "cpu":  # elsewhere looking would wait for the device: see the training loop
            self.check_finite()
        return found

    def plan(self, step: int, share: float | None = None) -> Plan:
        """The plan of step `step`; share as in `__call__`."""
        return plan_of(self.params, step, share)

    def advance(self, batch: Batch, plan: Plan, generator: torch.Generator) -> tuple[Losses, FamilyStatistics | None]:
        """One step as planned; with fixed shapes it never waits for the device. generator: seeds every draw."""
        noise = RowNoise(generator, batch.batch_size, batch.places)
        self.adam_g.param_groups[0]["lr"], self.adam_d.param_groups[0]["lr"] = plan.generator_lr, plan.lr
        losses, statistics = {}, None
        self.generator.context_alone = plan.context_alone
        with self._autocast(batch.features.device):
            draws = draws_of(self.generator, batch, plan, self.params, noise, twice=self.scored)
        real_logits = None
        if plan.adversarial:
            if not self.started and self.params.adversarial_start > 0 and self.adam_d.is_fresh():
                self.discriminator.start_from(self.generator)
            self.started = True
            loss, statistics, real_logits, terms = self._discriminator_loss(batch, draws, plan, noise)
            losses |= terms
            losses["discriminator_gradient_norm"] = self._update(self.flat_d, self.adam_d, loss)
        loss, terms = self._generator_loss(batch, draws, plan, real_logits)
        losses |= terms
        losses["generator_gradient_norm"] = self._update(self.flat_g, self.adam_g, loss)
        self.own_average.lerp_(self.flat_g.own_values, plan.fresh)
        return losses, statistics

    def averaged_generator(self) -> Generator | None:
        """The averaged generator. Where the processes share its weights out, all must call: the first gets it, the
        others None."""
        if self.average is not None:
            return self.average
        weights = self.sharing.collect(self.flat_g, self.own_average)
        if weights is None:
            return None
        out = deepcopy(self.generator).cpu().requires_grad_(False)
        nn.utils.vector_to_parameters(weights, out.parameters())
        return out

    def check_finite(self) -> None:
        """Raises NonFiniteError when the last updates were skipped, too many of them."""
        if self.non_finite > self.NON_FINITE_LIMIT:
            raise NonFiniteError(
                f"{int(self.non_finite)} updates in a row had a gradient that is not finite; 'train.lr' or "
                f"'train.penalty_weight' does not suit this data. The last checkpoint is intact."
            )

    # -- the two turns --------------------------------------------------------------------------
    def _discriminator_loss(
        self, batch: Batch, draws: Draws, plan: Plan, noise: RowNoise
    ) -> tuple[Tensor, FamilyStatistics, Tensor, Losses]:
        p, rows, fake = self.params, len(batch.features), draws.first
        inputs, roles = [batch.features, fake.detach()], [batch.role, batch.role]
        index = batch.mismatch_index
        if plan.mismatched and len(index):
            x = mismatched_source(batch.features, batch.donor, batch.role, self.generator.token_of_feature)
            a_row = index.clamp(max=rows - 1)  # a padded index names no row in places, see Batch.padded
            inputs.append(x[a_row])
            roles.append(batch.role[a_row].where((index < rows)[:, None], HIDDEN))
        with self._autocast(batch.features.device):
            shapes = self.discriminator.critic_shapes if len(inputs) == 3 else None
            logits = self.discriminator(torch.cat(inputs), torch.cat(roles), shapes).float()
            cross = self._cross_logits(batch, draws, logits[rows : 2 * rows], detach=True)
        mismatched = has_source = None
        if len(inputs) == 3:  # of a row that fills up its group only the first copy counts
            mismatched = logits[2 * rows :].index_select(0, batch.mismatch_place)
            has_source = (batch.role == SOURCE).any(1)
        loss, statistics = self._logit_losses(batch, logits[: 2 * rows], mismatched, has_source, cross, plan.mismatch)
        terms = {"discriminator_loss": loss.detach()}
        if p.drift_weight > 0:
            loss = loss + p.drift_weight * logits[: 2 * rows].square().mean()
        if plan.penalised:
            squares = self._penalty(batch, fake.detach(), noise)
            real_square, fake_square = squares.view(2, rows).mean(1)
            loss = loss + 0.5 * p.penalty_weight * p.penalty_interval * (real_square + fake_square)
            terms |= {"r1": real_square.detach(), "r2": fake_square.detach()}
        return loss, statistics, logits[:rows].detach(), terms

    def _logit_losses(
        self,
        batch: Batch,
        logits: Tensor,
        mismatched: Tensor | None,
        has_source: Tensor | None,
        cross: tuple[Tensor, ...] | None,
        mismatch: float | Tensor,
    ) -> tuple[Tensor, FamilyStatistics]:
        p, (real, fake) = self.params, logits.chunk(2)
        kind, families = p.loss, len(FAMILIES)
        here = mismatched is not None
        apart = here and isinstance(mismatch, Tensor)  # a weight on the device: kernels take theirs from the host
        loss, statistics = discriminator_losses(
            real,
            fake,
            batch.family,
            mismatched=mismatched,
            has_source=has_source,
            cross=cross,
            kind=kind,
            adversarial_weight=p.adversarial_weight,
            mismatch_weight=mismatch * batch.relative.sources if here and not apart else 0.0,
            communication_weight=p.communication_weight if cross is not None else 0.0,
            n_families=families,
        )
        if apart:
            term, _ = discriminator_losses(
                real,
                fake,
                batch.family,
                mismatched=mismatched,
                has_source=has_source,
                kind=kind,
                adversarial_weight=0.0,
                mismatch_weight=1.0,
                n_families=families,
            )
            loss = loss + mismatch * batch.relative.sources * term
        return loss, statistics

    def _penalty(self, batch: Batch, fake: Tensor, noise: RowNoise) -> Tensor:
        features, role = torch.cat([batch.features, fake]), batch.role.repeat(2, 1)
        if self.params.penalty == "exact":
            with self._autocast(features.device, self.params.penalty_precision == "autocast"):
                return self._exact_penalty(features, role)
        shape = (len(batch.features), 2 * features.shape[1])
        moves = torch.cat(draw(torch.randn, shape, noise, features.device).chunk(2, 1))
        return approximate_penalty(self.discriminator, features, role, self.params.penalty_sigma, moves)

    def _exact_penalty(self, features: Tensor, role: Tensor) -> Tensor:
        if self.block_calls is not None:
            return input_gradient(self.discriminator, features, role, *self.block_calls).square().sum(1)
        if not self.params.compile:
            return exact_penalty(self.discriminator, features, role)
        with torch.compiler.set_stance("force_eager"):  # what blocks compile to has no second derivative
            return exact_penalty(self.discriminator, features, role)

    def _generator_loss(
        self, batch: Batch, draws: Draws, plan: Plan, real_logits: Tensor | None
    ) -> tuple[Tensor, Losses]:
        p, terms = self.params, {}
        loss = draws.raw.new_zeros(())
        if real_logits is not None:
            self.flat_d.require_gradients(False)
            with self._autocast(batch.features.device):
                fake_logits = self.discriminator(draws.first, batch.role).float()
                cross = self._cross_logits(batch, draws, fake_logits, detach=False)
            self.flat_d.require_gradients(True)
            loss, _ = generator_losses(
                real_logits,
                fake_logits,
                batch.family,
                cross=cross,
                kind=p.loss,
                adversarial_weight=p.adversarial_weight,
                communication_weight=p.communication_weight if cross is not None else 0.0,
                n_families=len(FAMILIES),
            )
            terms["generator_loss"] = loss.detach()
        if draws.second is not None:
            score = self._energy_score(batch, draws)
            loss = loss + plan.energy * score
            terms["energy_score"] = score.detach()
        if p.likelihood_weight > 0:
            categorical, continuous, score = self._likelihood(batch, draws.raw)
            if batch.relative != Counts():
                categorical, score = categorical * batch.relative.discrete, score * batch.relative.discrete
                continuous = continuous * batch.relative.continuous
            if draws.nats is not None:
                loss = loss + p.likelihood_weight * draws.nats
                terms["further_cross_entropy"] = draws.nats.detach()
            loss = loss + p.likelihood_weight * (categorical + p.continuous_likelihood_weight * continuous)
            terms |= {"cross_entropy": categorical.detach(), f"{p.continuous_error}_error": continuous.detach()}
            if p.ranked_weight > 0:
                loss = loss + p.likelihood_weight * p.ranked_weight * score
                terms["ranked_score"] = score.detach()
        return loss, terms

    def _energy_score(self, batch: Batch, draws: Draws) -> Tensor:
        """() mean over the rows of all processes with a continuous target; 0 without any."""
        asked = (batch.role == TARGET) & ~self.generator.discrete
        counted = asked[:, self.generator.token_of_feature]
        scores = energy_scores(draws.first, draws.second, batch.features, counted)
        return scores.sum() / asked.any(1).sum().clamp(min=1) * batch.relative.rows

    def _likelihood(self, batch: Batch, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """() means over the targets that count: nats of choices, error of others, ranked score of choices."""
        share, groups = self.params.likelihood_source_share, self.generator.body.groups
        error = self.params.continuous_error
        if self.params.ranked_weight == 0:
            return *likelihood_terms(raw, batch.features, batch.role, groups, share, error), raw.new_zeros(())
        enough = (batch.role == SOURCE).sum(1) >= share * batch.role.shape[1]
        counted = (batch.role == TARGET) & enough[:, None]
        nats, score = choice_terms(raw, batch.features, counted, self.kinds)
        others = tuple(g for g in groups if not g.discrete)
        return nats, likelihood_terms(raw, batch.features, batch.role, others, share, error)[1], score

    def _cross_logits(
        self, batch: Batch, draws: Draws, own: Tensor, *, detach: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """f(x¹; S₁,T₁), f(x¹; S₂,T₂), f(x²; S₁,T₁), f(x²; S₂,T₂); `own` is the first."""
        if draws.paired is None:
            return None
        one, two = (x.detach() if detach else x for x in (draws.first, draws.paired))
        inputs, roles = torch.cat([one, two, two]), torch.cat([batch.other_role, batch.role, batch.other_role])
        first_other, other_first, other_other = self.discriminator(inputs, roles).float().chunk(3)
        return own, first_other, other_first, other_other

    def _update(self, flat: FlatParameters, adam: FlatAdam, loss: Tensor) -> Tensor:
        flat.gradients.zero_()
        if loss.requires_grad:
            loss.backward(inputs=flat.parameters)
        norm = self.sharing.reduce(flat)
        flat.clip(norm, self.params.clip_norm)
        bad = 1.0 - torch.isfinite(norm).float()
        self.non_finite.add_(bad).mul_(bad)
        adam.found_inf = bad  # as GradScaler tells it: the fused update leaves everything as it was
        adam.step()
        self.sharing.spread(flat)
        return norm.detach()

    def _autocast(self, device: torch.device, wanted: bool = True) -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.autocast and wanted)
