"""Presets of a few steps and trees: every part of a fit runs, in a moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.estimators import presets

KINDS_OF_TREES = 3  # raw, guided and residual: one tree of each


def shrink(monkeypatch: pytest.MonkeyPatch, steps: int = 20) -> None:
    """During the test a fit has at most `steps` steps a network where none are asked for, and one tree of a kind."""
    small = {
        name: replace(preset, steps=min(preset.steps, steps), trees=KINDS_OF_TREES, pilot_trees=KINDS_OF_TREES)
        for name, preset in presets.PRESETS.items()
    }
    monkeypatch.setattr(presets, "PRESETS", small)
    monkeypatch.setattr(presets, "FEWEST_TREES", KINDS_OF_TREES)
