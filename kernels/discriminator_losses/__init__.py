"""Losses on discriminator logits, all terms and per-family statistics in one pass."""

from kernels.discriminator_losses.api import FamilyStatistics, discriminator_losses, generator_losses

__all__ = ["FamilyStatistics", "discriminator_losses", "generator_losses"]
