"""The site: it builds strictly, its pages load nothing from outside, and it shows every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import biglearn
import pipeline
from tests.helpers import pictures
from tests.helpers.imports import ROOT

OUTSIDE = re.compile(r"\s*(?:https?:)?//")
LOADING = {  # element → attributes whose address a browser loads by itself
    "script": ("src",), "link": ("href",), "img": ("src", "srcset"), "source": ("src", "srcset"), "iframe": ("src",),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",), "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"), "input": ("src",), "track": ("src",), "form": ("action",), "base": ("href",),
}  # fmt: skip


class Loads(HTMLParser):
    """What a page loads from outside, and the text of its styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in LOADING.get(tag, ()) and OUTSIDE.match(value or ""):
                self.outside.append(f"<{tag} {name}={value}>")
            if name == "style":
                self.outside += outside_in_style(value or "")
        if tag == "meta" and dict(attributes).get("http-equiv", "").lower() == "refresh":
            self.outside.append(str(attributes))


def outside_in_style(text: str) -> list[str]:
    """Addresses outside that a style sheet loads: in url(…) and @import."""
    found = re.findall(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""", text)
    return [f"style: {address}" for address in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site. Warnings, such as a link or an anchor that leads nowhere, fail."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_pages_load_nothing_from_outside(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text, loads = page.read_text(encoding="utf8"), Loads()
        loads.feed(text)
        styles = [
            s for block in re.findall(r"<style[^>]*>(.*?)</style>", text, flags=re.S) for s in outside_in_style(block)
        ]
        assert not loads.outside + styles, page.relative_to(site)
        assert 'class="mermaid"' not in text, f"{page.name}: a diagram needs a script that the site does not have"
    for style in site.rglob("*.css"):
        assert not outside_in_style(style.read_text(encoding="utf8")), style.name
    for script in site.rglob("*.js"):
        found = re.findall(
            r"https?://[\w.-]*(?:unpkg|jsdelivr|cdn|googleapis|gstatic)[\w./@-]*", script.read_text("utf8")
        )
        assert not found, f"{script.name}: {found}"


def test_the_loads_that_the_check_must_see():
    """A page that does load from outside is seen."""
    loads = Loads()
    loads.feed(
        '<script src="https://a/b.js"></script><link href="//a/b.css"><img src="x.png" style="a:url(http://a/c)">'
    )
    loads.feed('<a href="https://a/plain">a plain link is fine</a><img srcset="http://a/b.png 2x">')
    assert len(loads.outside) == 4


def test_every_page_of_the_documents_is_there(site):
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs")
        built = name.with_name("index.html" if name.name in ("README.md", "index.md") else f"{name.stem}.html")
        assert (site / built).is_file(), name
    assert (site / "benchmarks" / "results" / "imputation.csv").is_file(), "files to which pages link come along"


def test_landing_page_has_a_picture_a_table_and_the_five_guides(site):
    page = (site / "index.html").read_text(encoding="utf8")
    assert page.count("<img alt=") == 1 and page.count("<table>") == 1
    for guide in ("tables", "images", "paper", "scheduling", "kernels"):
        assert f'href="guide/{guide}.html"' in page


def test_formulas_are_mathml(site):
    page = (site / "how-it-works.html").read_text(encoding="utf8")
    assert page.count("<math") > 30
    assert (
        "\\(" not in page and "\\[" not in page and "$" not in re.sub(r"<(script|code).*?</\1>", "", page, flags=re.S)
    )


def test_every_public_name_has_its_entry(site):
    """A new name of `biglearn` needs a line `::: home.Name` in a page of docs/api, and a row in docs/api/index.md."""
    entries = "".join(page.read_text(encoding="utf8") for page in (site / "api").glob("*.html"))
    index = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf8")
    for name in biglearn.__all__:
        assert re.search(rf'id="(?:{pipeline._HOME[name]}|kernels\.\w+\.\w+)\.{name}"', entries), name
        assert f"`{name}`" in index, name


def test_parameters_stand_in_a_list(site):
    """Each parameter that a docstring explains has a line of its own."""
    page = (site / "api" / "imputer.html").read_text(encoding="utf8")
    assert re.search(r"<li><code>batch_size</code>: rows a step\.</li>", page)


def test_every_picture_is_made_by_make_pictures():
    assert {p.name for p in (ROOT / "docs" / "images").iterdir()} == {*pictures.COPIES, *pictures.PHOTOGRAPHS}


def test_pictures_of_an_empty_project_say_what_is_missing(tmp_path):
    with pytest.raises(RuntimeError, match=r"must hold the results of all stages. Got no data/plots/evaluate/half.png"):
        pictures.make(tmp_path, tmp_path / "images")
    assert not (tmp_path / "images").exists()
