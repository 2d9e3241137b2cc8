"""The gate between a new model and promotion: one metric, its direction, how much worse is tolerated. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.base.result_groups import RetrainParams


@dataclass(frozen=True)
class Decision:
    """promote: whether the new model takes the old one's place; reason: one sentence, with the figures."""

    promote: bool
    reason: str


def judge(new: Mapping[str, float], old: Mapping[str, float] | None, gate: RetrainParams) -> Decision:
    """The decision on `new` metrics against those of the promoted model, None when there is none.

    The new value may be worse by `gate.tolerance` · |old value|. Raises ValueError when `new` lacks the metric.
    """
    value = _value(new, gate.metric)
    if value is None:
        raise ValueError(f"'retrain.metric' must be a finite key of evaluate.json. Got '{gate.metric}'.")
    shown = f"{gate.metric} {value:.5g}"
    if old is None:
        return Decision(True, f"{shown}: the first model")
    before = _value(old, gate.metric)
    if before is None:
        return Decision(True, f"{shown}: the promoted model has no {gate.metric}")
    worse_by = value - before if gate.direction == "lower" else before - value
    allowed = gate.tolerance * abs(before)
    text = f"{shown} against {before:.5g} of the promoted model ({gate.direction} is better"
    if worse_by <= allowed:
        return Decision(True, f"{text}; at most {allowed:.5g} worse is tolerated)")
    return Decision(False, f"{text}): worse by {worse_by:.5g}, more than the tolerated {allowed:.5g}")


def _value(metrics: Mapping[str, float], name: str) -> float | None:
    value = metrics.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
