"""Stage report: one self-contained page of all results → data/report/index.html. Run: python -m pipeline.report

Shows what the other stages left under data/. The page needs no server and loads nothing: pictures are inlined, and
there is no script. Stages that have not run are named.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import jinja2

from pipeline import report_parts
from pipeline.files import replaced_folder, write_text
from pipeline.machine import hardware, source_state, versions
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.stage import run_stage

SAMPLES = ("joint.png", "real.png", "half.png", "label_to_image.png", "completions.png")  # the rest are charts


def run(params: Params, where: Paths) -> None:
    """Writes data/report/index.html, all or nothing."""
    html = render(content(params, where))
    with replaced_folder(where.report) as fresh:
        write_text(fresh / "index.html", html)
    print(f"report: {where.report / 'index.html'}, {len(html.encode('utf8')) / 2**20:.1f} MiB")


def content(params: Params, where: Paths) -> dict[str, Any]:
    """The variables of the template."""
    metrics = report_parts.metrics_of(where)
    summary_file = where.tokens / "summary.json"
    evaluated = report_parts.pictures(where.plots / "evaluate")
    merged = metrics.get("evaluate", {}) | metrics.get("simulate", {})
    return {
        "title": params.report.title,
        "dataset": params.dataset.name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "source": source_state(where.root),
        "missing": report_parts.missing_stages(where),
        "tiles": report_parts.tiles(merged),
        "samples": [p for name, p in evaluated.items() if name in SAMPLES],
        "score_charts": [p for name, p in evaluated.items() if name not in SAMPLES],
        "rows": report_parts.shown_rows(where),
        "joint_table": report_parts.joint_table(metrics.get("evaluate", {})),
        "task_table": report_parts.task_table(where),
        "curves": report_parts.training_curves(where),
        "progress": report_parts.progress(where),
        "train": metrics.get("train", {}),
        "tasks": list(report_parts.pictures(where.plots / "tasks", paper=True).values()),
        "simulations": list(report_parts.pictures(where.plots / "simulate", paper=True).values()),
        "metrics": metrics,
        "parameters": report_parts.parameters(params),
        "summary": json.loads(summary_file.read_text("utf8")) if summary_file.is_file() else {},
        "times": report_parts.wall_times(where),
        "hardware": hardware(),
        "versions": versions(),
    }


def render(variables: dict[str, Any]) -> str:
    """The page. Raises jinja2.UndefinedError for a variable that the template needs and did not get."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(report_parts.TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = report_parts.number
    return environment.get_template("report.html").render(variables)


def main() -> None:
    """Entry point of the stage."""
    run_stage("report", run)


if __name__ == "__main__":
    main()
