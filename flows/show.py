"""What a finished run shows in Prefect: a table of metrics, the newest sample sheet, a link to the report."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from prefect.artifacts import create_image_artifact, create_link_artifact, create_table_artifact

from pipeline.base.paths import Paths

REPORT_URL = "BIGLEARN_REPORT_URL"  # where data/report is served; set by flows.serve


def publish_results(where: Paths) -> None:
    """Creates the artifacts of whatever the workspace holds: a stage may be absent from a user's dvc.yaml."""
    rows = metric_rows(where)
    if rows:
        create_table_artifact(rows, key="metrics", description="Metrics of every stage (data/metrics).")
    picture = newest_sheet(where)
    if picture is not None:
        name = picture.relative_to(where.data).as_posix()
        create_image_artifact(data_uri(picture), key="samples", description=f"Samples of the model: {name}")
    if (where.report / "index.html").is_file():
        link = os.environ.get(REPORT_URL) or (where.report / "index.html").resolve().as_uri()
        create_link_artifact(link, key="report", link_text="Report of this run", description="The whole report.")


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
