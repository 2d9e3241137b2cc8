"""The door to BigLearn: one generative model that samples any part of the data from any other part.

    from biglearn import BigLearnImputer, Sampler

    filled = BigLearnImputer().fit_transform(frame)              # gaps of a table
    rows = Sampler.load("data/models/generator").sample(64)      # any part of any data, here the whole

The public names load when they are first used: `import biglearn` alone loads neither torch nor scikit-learn. The code
lies in the packages `pipeline`, `kernels` and `flows`; where another module of such a name stands before ours, ours is
loaded and a warning names the other (pipeline/base/neighbours.py).
"""

from __future__ import annotations

import importlib.util as _importlib_util
from pathlib import Path as _Path

_HOME = _Path(__file__).resolve().parent


def _load_pipeline() -> object:
    """Our package `pipeline`, whatever else bears that name."""
    file = _HOME / "pipeline" / "base" / "neighbours.py"
    spec = _importlib_util.spec_from_file_location("_biglearn_neighbours", file)
    neighbours = _importlib_util.module_from_spec(spec)
    spec.loader.exec_module(neighbours)
    neighbours.own_package("pipeline", _HOME)
    import pipeline

    return pipeline


_pipeline = _load_pipeline()
__all__ = list(_pipeline.__all__)


def main() -> None:
    """Entry point of the command `biglearn`."""
    from pipeline.app.cli import main as run

    run()


def __getattr__(name: str) -> object:
    """The public name, imported now."""
    if name == "__version__":
        from importlib.metadata import version

        return version("biglearn")
    if name not in __all__:
        raise AttributeError(f"module 'biglearn' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(_pipeline, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
