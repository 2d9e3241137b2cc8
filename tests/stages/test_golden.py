"""The golden pipeline gives what it gave: task banks exactly, losses within a tolerance."""

from __future__ import annotations

import json

import pytest

from tests.helpers import golden


def test_golden_pipeline(tmp_path):
    expected, found = json.loads(golden.GOLDEN.read_text("utf8")), golden.run(tmp_path)
    assert found["banks"] == expected["banks"], "the task distribution changed; if that is meant, run `make golden`"
    assert found["losses"].keys() == expected["losses"].keys()
    for name, values in expected["losses"].items():
        assert found["losses"][name] == pytest.approx(values, rel=golden.LOSS_TOLERANCE, abs=1e-6), (
            f"{name} changed; if that is meant, run `make golden` and explain the diff"
        )
