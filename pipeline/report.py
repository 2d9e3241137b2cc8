"""Stage report: one self-contained page of all results → data/report/index.html. Run: python -m pipeline.report

Shows what the other stages left under data/. The page needs no server and loads nothing: pictures are inlined, and
there is no script. Stages that have not run are named.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pipeline.base.files import replaced_folder, write_text
from pipeline.base.machine import hardware, source_state, versions
from pipeline.base.params import Params
from pipeline.base.paths import Paths
from pipeline.base.stage import run_stage
from pipeline.reporting import page_pictures, sections
from pipeline.reporting.pages import page

SAMPLES = ("joint.png", "real.png", "half.png", "label_to_image.png", "completions.png")  # the rest are charts


def run(params: Params, where: Paths) -> None:
    """Writes data/report/index.html, all or nothing."""
    html = render(content(params, where))
    with replaced_folder(where.report) as fresh:
        write_text(fresh / "index.html", html)
    print(f"report: {where.report / 'index.html'}, {len(html.encode('utf8')) / 2**20:.1f} MiB")


def content(params: Params, where: Paths) -> dict[str, Any]:
    """The variables of the template."""
    metrics = sections.metrics_of(where)
    summary_file = where.tokens / "summary.json"
    evaluated = page_pictures.pictures(where.plots / "evaluate")
    merged = metrics.get("evaluate", {}) | metrics.get("simulate", {})
    return {
        "title": params.report.title,
        "dataset": params.dataset.name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "source": source_state(where.root),
        "missing": sections.missing_stages(where),
        "tiles": sections.tiles(merged),
        "samples": [p for name, p in evaluated.items() if name in SAMPLES],
        "score_charts": [p for name, p in evaluated.items() if name not in SAMPLES],
        "rows": sections.shown_rows(where),
        "joint_table": sections.joint_table(metrics.get("evaluate", {})),
        "task_table": sections.task_table(where),
        "curves": page_pictures.training_curves(where),
        "progress": page_pictures.progress(where),
        "train": metrics.get("train", {}),
        "tasks": list(page_pictures.pictures(where.plots / "tasks", paper=True).values()),
        "simulations": list(page_pictures.pictures(where.plots / "simulate", paper=True).values()),
        "metrics": metrics,
        "parameters": sections.parameters(params),
        "summary": json.loads(summary_file.read_text("utf8")) if summary_file.is_file() else {},
        "times": sections.wall_times(where),
        "hardware": hardware(),
        "versions": versions(),
    }


def render(variables: dict[str, Any]) -> str:
    """The page. Raises jinja2.UndefinedError for a variable that the template needs and did not get."""
    return page("report.html", variables, number=sections.number)


def main() -> None:
    """Entry point of the stage."""
    run_stage("report", run)


if __name__ == "__main__":
    main()
