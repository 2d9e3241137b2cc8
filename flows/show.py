"""What a finished run shows in Prefect: `results`, a page of headline scores, samples and the report; `metrics`, all of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.reports import link_to
from pipeline.base.paths import Paths
from pipeline.reporting.sections import tiles

CAPTION = (
    "Pictures after {steps} training steps: four lines drawn whole, then real ones, the part of them that is given, "
    "and two draws of the rest."
)


def publish_results(where: Paths) -> None:
    """Creates the artifacts of whatever the workspace holds: a stage may be absent from a user's dvc.yaml."""
    report = where.report / "index.html"
    text = results_text(where, link_to(where.report) if report.is_file() else None)
    if text:
        create_markdown_artifact(text, key="results", description="Headline scores, samples, the report.")
    rows = metric_rows(where)
    if rows:
        create_table_artifact(rows, key="metrics", description="Metrics of every stage (data/metrics).")


def results_text(where: Paths, link: str | None) -> str:
    """Markdown of what the workspace holds; "" where there is nothing. link: address of the report, where it is served."""
    parts = []
    scores = tiles({row["metric"]: row["value"] for row in metric_rows(where)})
    if scores:
        lines = [
            f"| {s.title} | {s.value} | {s.beside.replace(', ', '<br>')} |" for s in scores
        ]  # wide tables are cut off
        parts.append("\n".join(["| score | value | beside it |", "| --- | --- | --- |", *lines]))
    picture = newest_sheet(where)
    if picture is not None:
        steps = int(picture.stem.removeprefix("step-"))
        parts.append(f"{CAPTION.format(steps=steps)}\n\n![Samples]({data_uri(picture)})")
    report = where.report / "index.html"
    if report.is_file():
        file = f"`{report.resolve()}`"
        parts.append(f"[The newest report of this flow]({link}), in the file {file}" if link else f"Report: {file}")
    return "\n\n".join(parts)


def metric_rows(where: Paths) -> list[dict[str, object]]:
    """One row a metric: stage, metric, value."""
    rows = []
    for path in sorted(where.metrics.glob("*.json")):
        for name, value in json.loads(path.read_text(encoding="utf8")).items():
            rows.append({"stage": path.stem, "metric": name, "value": value})
    return rows


def newest_sheet(where: Paths) -> Path | None:
    """The sample sheet of the last training step that has one."""
    sheets = sorted((where.models / "progress").glob("step-*.png"))
    return sheets[-1] if sheets else None


def data_uri(picture: Path) -> str:
    """The PNG itself as a data: address, so that it shows wherever the page is opened."""
    return "data:image/png;base64," + base64.b64encode(Path(picture).read_bytes()).decode("ascii")
