"""What a flow needs of the machine around it: no usage reports, loopback without a proxy, a home for Prefect."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from kernels.caches import is_writable, own_folder

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets what Prefect reads when it is imported; children inherit it."""
    environment.setdefault("DO_NOT_TRACK", "1")
    environment.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    keep_loopback_direct(environment)
    use_writable_home(environment)


def keep_loopback_direct(environment: MutableMapping[str, str]) -> None:
    """Adds loopback to no_proxy where a proxy is set: a company's proxy cannot reach this machine's own server."""
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    known = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    names = [name.strip() for name in known.split(",") if name.strip()]
    if "*" not in names:
        names += [name for name in LOOPBACK if name not in names]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(names)


def use_writable_home(environment: MutableMapping[str, str]) -> None:
    """Sets PREFECT_HOME to a folder below the temporary one where the usual place cannot be written, and says so."""
    home = Path(environment.get("PREFECT_HOME") or os.path.join(os.path.expanduser("~"), ".prefect"))
    if is_writable(home):
        return
    other = own_folder("prefect")
    if other is not None and other != home:
        environment["PREFECT_HOME"] = str(other)
        print(f"Prefect keeps its runs in {other}: {home} cannot be written. Set PREFECT_HOME to a folder that stays.",
              file=sys.stderr)  # fmt: skip
