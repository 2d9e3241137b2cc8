"""What every test may rely on: the local mirror of public data sets, and a line that says if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.helpers.imports import ROOT

MIRROR = Path(os.environ.get("DATA_MIRROR") or ROOT.parent / "shared" / "data")


def has_mnist() -> bool:
    """True when the mirror holds the files of MNIST."""
    return (MIRROR / "mnist" / "train-images-idx3-ubyte.gz").is_file()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Said at the end of every run, so that nothing is left out silently."""
    if has_mnist():
        terminalreporter.write_line(f"mirror of public data: {MIRROR}")
    else:
        terminalreporter.write_line(f"no mirror of public data at {MIRROR}: tests marked 'mirror' were left out")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects, and so counts in the summary, the tests that need the mirror where there is none."""
    absent = [] if has_mnist() else [item for item in items if item.get_closest_marker("mirror")]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]


@pytest.fixture
def mirror(monkeypatch) -> Path:
    """The mirror's folder, which DATA_MIRROR names during the test."""
    monkeypatch.setenv("DATA_MIRROR", str(MIRROR))
    return MIRROR


@pytest.fixture(autouse=True)
def torch_as_before():
    """What a test sets in the whole process does not last: that a stage which trains rounds the smallest numbers to zero,
    and the number of threads, of which two make small operations ten times slower on a machine that is busy."""
    threads = torch.get_num_threads()
    yield
    torch.set_flush_denormal(False)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
