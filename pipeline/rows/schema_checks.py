"""Types of a schema that was read from JSON."""

from __future__ import annotations

import math


def check_types(raw: dict) -> None:
    """Raises TypeError for a value that JSON allows where a schema does not; sizes are checked by the classes."""
    number, whole, text = (int, float), (int,), (str,)
    for token in raw["tokens"]:
        words = [token["name"], token["modality"], token["group"], token.get("gap_of", "")]
        _check_type("name, modality, group, gap_of", words, text)
        _check_type("columns, width, position", [*token["columns"], token["width"], *token.get("position", ())], whole)
        scalars = [token.get("center", 0.0), token.get("scale", 1.0)]
        _check_type("center, scale, edges, mass", scalars + token.get("edges", []) + token.get("mass", []), number)
        if len(token.get("position", (0, 0))) != 2:
            raise TypeError(f"'position' must hold two numbers. Got {token['position']}.")
    _check_type("columns, label", [*raw["columns"], raw["label"]], text)
    _check_type("image, patch_size_px", [*(raw["image"] or (1, 1, 1)), raw["patch_size_px"]], whole)
    if raw["image"] and (len(raw["image"]) != 3 or min(raw["image"]) < 1):
        raise TypeError(f"'image' must be null or hold three positive numbers. Got {raw['image']}.")
    _check_type("categories", [*raw["categories"], *(w for words in raw["categories"].values() for w in words)], text)
    table = raw.get("table", [])
    if not isinstance(table, list) or not all(isinstance(column, dict) for column in table):
        raise TypeError(f"'table' must be a list of columns. Got {str(table)[:60]}.")


def _check_type(name: str, values: list, types: tuple[type, ...]) -> None:
    for value in values:
        if (
            isinstance(value, bool)
            or not isinstance(value, types)
            or (isinstance(value, float) and not math.isfinite(value))
        ):
            raise TypeError(f"'{name}' must hold finite {' or '.join(t.__name__ for t in types)}. Got {value!r}.")
