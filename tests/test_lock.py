"""The lock can be installed by every Python that the project names, Debian's 3.11.2 among them."""

from __future__ import annotations

import importlib.metadata as installed
import re

import pytest
from packaging.specifiers import SpecifierSet

from tests.helpers.imports import ROOT

LOCKED = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf8"), re.M)


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0"])
def test_no_package_of_the_lock_asks_for_a_later_python(python):
    refused = []
    for name, version in LOCKED:
        try:
            found = installed.distribution(name)
        except installed.PackageNotFoundError:  # of another platform
            continue
        wants = found.metadata.get("Requires-Python")
        if found.version == version and wants and python not in SpecifierSet(wants):
            refused.append(f"{name}=={version} ({wants})")
    assert len(LOCKED) > 100 and not refused
