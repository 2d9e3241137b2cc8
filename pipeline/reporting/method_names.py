"""What the report calls the methods that are compared."""

from __future__ import annotations

METHODS = {
    "generator": "BigLearn",
    "mean_fill": "mean fill",
    "nearest": "nearest neighbour",
    "nearest_draws": "draws of 5 nearest",
    "iterative": "iterative imputer",
}
