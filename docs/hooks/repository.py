"""Links that leave docs/ resolve in the site as they do in the repository.

The site's tree is the repository with docs/ as its root: docs/guide/tables.md is guide/tables.md, CHANGELOG.md is
CHANGELOG.md, benchmarks/results/x.png is benchmarks/results/x.png. Files outside docs/ to which pages link are put
there; README is the landing page; folders, which are no pages, lose the link and keep its words.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[((?:[^\[\]]|!?\[[^\]]*\](?:\([^)]*\))?)*)\]\(([^()\s]+)\)")
SECTIONS = ("Results", "Decisions", "Guides", "Running it")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Pages of a folder that the navigation does not name follow the others: a new page is never left out."""
    listed = _paths(config.nav)
    for section in config.nav:
        (title, entries), *_ = section.items()
        if title in SECTIONS:
            folders = {posixpath.dirname(p) for p in _paths(entries)} - {""}
            found = {f"{f}/{p.name}" for f in folders for p in (ROOT / "docs" / f).glob("*.md")}
            entries += sorted(found - listed)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files outside docs/ to which pages link are part of the site, and so are those to which these link."""
    queue = [(file.src_uri, Path(file.abs_src_path)) for file in files.documentation_pages()]
    while queue:
        uri, page = queue.pop()
        for _, target in LINK.findall(page.read_text(encoding="utf8")):
            outside = _repository_path(uri, target)
            if outside is None or files.get_file_from_path(outside) or not (ROOT / outside).is_file():
                continue
            if outside != "README.md":
                files.append(File.generated(config, outside, abs_src_path=str(ROOT / outside)))
            if outside.endswith(".md") and outside != "README.md":
                files.get_file_from_path(outside).inclusion = files.get_file_from_path(uri).inclusion.NOT_IN_NAV
                queue.append((outside, ROOT / outside))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links that hold in the site's tree; blocks of code stay as they are."""
    uri = page.file.src_uri

    def moved(found: re.Match) -> str:
        words, target = found.groups()
        words = LINK.sub(moved, words)
        place = _site_path(uri, target)
        if place is None:
            return f"[{words}]({target})"
        path, _, anchor = target.partition("#")
        if files.get_file_from_path(place) is None:
            return words
        relative = posixpath.relpath(place, posixpath.dirname(uri) or ".")
        return f"[{words}]({relative}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in parts)


def on_post_build(config: MkDocsConfig) -> None:
    """The theme's script names a content network, for browsers without ResizeObserver and for diagrams: not so here."""
    for file in Path(config.site_dir, "assets", "javascripts").glob("*.js*"):
        if file.suffix == ".map":
            file.unlink()
        elif "https://unpkg.com/" in (text := file.read_text(encoding="utf8")):
            text = re.sub(r"\n//# sourceMappingURL=.*", "", text)
            file.write_text(text.replace("https://unpkg.com/", "absent/"), encoding="utf8")


def _paths(nav: object) -> set[str]:
    """Every page that a navigation names."""
    if isinstance(nav, str):
        return {nav}
    return set().union(*(_paths(entry) for entry in (nav.values() if isinstance(nav, dict) else nav)))


def _in_repository(uri: str, target: str) -> str | None:
    """Path in the repository to which a link on the page `uri` leads; None: it leads nowhere in it."""
    path = target.partition("#")[0]
    if not path or re.match(r"[a-z]+:|/", path):
        return None
    here = ROOT / uri if (ROOT / uri).is_file() else ROOT / "docs" / uri
    return Path(os.path.normpath(here.parent / path)).relative_to(ROOT).as_posix()


def _repository_path(uri: str, target: str) -> str | None:
    """The same for what lies outside docs/; None: within."""
    path = _in_repository(uri, target)
    return None if path is None or path.startswith("docs/") else path


def _site_path(uri: str, target: str) -> str | None:
    """Path in the site's tree to which a link leads; None: nowhere in it."""
    path = _in_repository(uri, target)
    return "index.md" if path == "README.md" else path and path.removeprefix("docs/")
