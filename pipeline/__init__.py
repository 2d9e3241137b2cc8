"""The code of BigLearn, in rooms, with the seven stages at the root. The public names load on first use.

People's door is the module `biglearn`, which hands the same names on.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from pipeline.base import parent as _parent  # noqa: F401  it notes at once who started this process
from pipeline.base.neighbours import own_package as _own_package

_own_package("kernels", Path(__file__).resolve().parent.parent)

_HOME = {
    "BigLearnEM": "pipeline.simulation.biglearn_em",
    "BigLearnImputer": "pipeline.estimators.imputer",
    "ParamsError": "pipeline.base.fields",
    "Sampler": "pipeline.model.sampler",
    "Schema": "pipeline.rows.schema",
    "TableError": "pipeline.tables.errors",
    "attention": "kernels.masked_attention",
    "attention_jvp": "kernels.masked_attention",
    "find_rules": "pipeline.asking.finding",
    "inspect": "pipeline.tables.inspection",
    "linear_model": "pipeline.asking.pooling",
    "load_params": "pipeline.base.params",
    "masked_attention": "kernels.masked_attention",
    "mean_of": "pipeline.asking.pooling",
    "pool": "pipeline.asking.pooling",
    "share_of": "pipeline.asking.pooling",
    "sklearn_linear": "pipeline.asking.pooling",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """The public name, imported now: `import pipeline` alone loads neither torch nor scikit-learn."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
