"""The pictures of docs/images, made anew from data/. Run: make pictures (it runs what is stale first)

Sheets and figures are the pipeline's own; the demo and the report are photographed in Chromium.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.base.files import write_bytes
from pipeline.base.paths import Paths, default_root
from tests.helpers.browser import INSTALLED, browser
from tests.helpers.imports import ROOT

COPIES = {
    "half.png": "data/plots/evaluate/half.png",
    "label_to_image.png": "data/plots/evaluate/label_to_image.png",
    "gmm25_course.png": "data/plots/simulate/gmm25_course.png",
}
PHOTOGRAPHS = {"demo.png": "data/models/generator/model.safetensors", "report.png": "data/report/index.html"}


def make(root: Path, out: Path) -> list[Path]:
    """The pictures written to `out`. Raises RuntimeError when data/ of the project `root` lacks one, or there is no
    browser: then nothing is written."""
    missing = [name for name in (*COPIES.values(), *PHOTOGRAPHS.values()) if not (root / name).is_file()]
    if missing:
        raise RuntimeError(f"{root} must hold the results of all stages. Got no {missing[0]}; `dvc repro` makes them.")
    if not INSTALLED:
        raise RuntimeError("Chromium must be installed. Got none; take Debian's packages chromium and chromium-driver.")
    out.mkdir(parents=True, exist_ok=True)
    for name, source in COPIES.items():
        write_bytes(out / name, (root / source).read_bytes())
    photograph_demo(Paths(root).generator, out / "demo.png")
    with browser(width=1200, height=900) as page:
        page.open((root / PHOTOGRAPHS["report.png"]).resolve().as_uri())
        page.screenshot(out / "report.png")
    return [out / name for name in (*COPIES, *PHOTOGRAPHS)]


def photograph_demo(model: Path, file: Path, width: int = 1200, height: int = 950, dark: bool = False) -> None:
    """The demo with the lower half of the first row erased and drawn eight times; sizes in CSS pixels."""
    command = [sys.executable, "-m", "pipeline.app.cli", "demo", str(model), "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        words = process.stdout.readline().split()
        if len(words) < 2:
            raise RuntimeError(f"The demo of {model} must start. Got the message above.")
        address = words[1]
        with browser(width, height, dark) as page:
            page.open(address)
            page.wait("return document.body.dataset.ready === 'yes'")
            page.click("[data-part=lower]")
            page.click("#complete")
            page.wait("return document.body.dataset.done === '1' && [...document.images].every((i) => i.complete)")
            page.screenshot(file)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def main() -> None:
    """Pictures of the current project into docs/images."""
    try:
        for path in make(default_root(), ROOT / "docs" / "images"):
            print(path.relative_to(ROOT))
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
