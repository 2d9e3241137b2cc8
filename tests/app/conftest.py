"""A small model for the tests of commands and of the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.models import DIGITS, save_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained model of digits, which no test writes to."""
    return save_model(tmp_path_factory.mktemp("model") / "generator", DIGITS)
