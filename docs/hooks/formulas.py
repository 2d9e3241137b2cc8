"""Formulas become MathML while the site is built, so that pages need no script and no fonts for them.

In Markdown a formula stands between $ … $ or $$ … $$, which GitHub shows too.
"""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert
from mkdocs.structure.pages import Page

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_page_content(content: str, page: Page, **_: object) -> str:
    """The page with its formulas as MathML."""

    def mathml(found: re.Match) -> str:
        tag, bracket, formula = found.groups()
        shown = "block" if bracket == "[" else "inline"
        return f'<{tag} class="formula">{convert(html.unescape(formula).strip(), display=shown)}</{tag}>'

    return FORMULA.sub(mathml, content)
