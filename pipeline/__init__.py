"""One generative model that samples any part of the data from any other part. The public names load on first use."""

from __future__ import annotations

from importlib import import_module

from pipeline.base import parent as _parent  # noqa: F401  it notes at once who started this process

_HOME = {
    "BigLearnEM": "pipeline.simulation.biglearn_em",
    "BigLearnImputer": "pipeline.estimators.imputer",
    "Sampler": "pipeline.model.sampler",
    "load_params": "pipeline.base.params",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """The public name, imported now: `import pipeline` alone loads neither torch nor scikit-learn."""
    if name not in _HOME:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
