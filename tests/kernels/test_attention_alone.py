"""`attention` with torch, triton and what these two need, and nothing else: anyone can take the folder `kernels`, or the door."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALONE = """
import re, sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

def needed(name, seen):
    if name not in seen:
        seen.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            return seen
        for line in lines:
            if "extra ==" not in line:
                needed(re.match(r"[\\w.-]+", line)[0].lower().replace("_", "-"), seen)
    return seen

allowed = needed("torch", set()) | needed("triton", set()) | {"biglearn"}
for top, owners in packages_distributions().items():
    if not {d.lower().replace("_", "-") for d in owners} & allowed:
        sys.modules[top] = None
sys.modules.update(dict.fromkeys(BLOCKED))
for name in ("numpy", "omegaconf", "numba"):
    try: __import__(name)
    except ImportError: pass
    else: raise AssertionError(name)
"""
RUN = """
import torch
q, k, v = (torch.randn(2, 2, 5, 8, requires_grad=True) for _ in range(3))
out = attention(q, k, v, mask=torch.tensor([[True] * 5, [True, False] * 2 + [False]]), is_causal=True, backend=BACKEND)
(first,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
first.square().sum().backward()
_, along = torch.func.jvp(lambda *x: attention(*x, backend=BACKEND), (q, k, v), (q, k, v))
print(q.grad.norm().item() > 0, along.shape)
"""


def run(door: str, backend: str, blocked: list[str]) -> str:
    code = f"BLOCKED, BACKEND = {blocked!r}, {backend!r}\n{ALONE}\n{door}\n{RUN}"
    environment = os.environ | {"TRITON_INTERPRET": "1" if backend == "triton" else "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    ("door", "backend", "blocked"),
    [
        ("from kernels.masked_attention import attention", "auto", ["pipeline", "biglearn", "triton"]),
        ("from biglearn import attention", "auto", ["triton"]),
    ],
)
def test_the_reference_needs_torch_alone(door, backend, blocked):
    assert run(door, backend, blocked) == "True torch.Size([2, 2, 5, 8])\n"


def test_the_kernels_need_torch_and_triton():
    """The interpreter itself computes with NumPy: it is let in, and nothing but it."""
    code = ALONE.replace('"numpy", ', "").replace("allowed = ", 'allowed = {"numpy"} | ')
    assert code != ALONE
    program = f"BLOCKED, BACKEND = ['pipeline', 'biglearn'], 'triton'\n{code}\nfrom kernels.masked_attention import attention\n{RUN}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"TRITON_INTERPRET": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "True torch.Size([2, 2, 5, 8])\n"
