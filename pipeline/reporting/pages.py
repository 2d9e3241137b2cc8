"""Pages from the templates of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, variables: dict[str, Any], **filters: Callable[[Any], str]) -> str:
    """The text of a page. Raises jinja2.UndefinedError for a variable that the template needs and did not get."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(template).render(variables)
