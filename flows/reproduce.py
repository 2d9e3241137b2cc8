"""Flow reproduce: every DVC stage as a task, in DVC's order, in parallel where the graph allows.

    python -m flows.reproduce                 # with a temporary Prefect server, or the one at PREFECT_API_URL

A stage that DVC calls up to date ends in the state UpToDate within milliseconds; any other runs as
`dvc repro --single-item <stage>` in a process of its own. Only fetch is tried again after a failure: it alone
depends on a network. `dvc repro` gives the same results with no Prefect at all.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from flows.command import run_and_exit
from flows.dvc_tasks import run_stage, stage_order, stale_stages
from flows.process import DeadlineExceeded, ended_together
from flows.show import publish_results
from pipeline.base.failures import exit_code, line_of
from pipeline.base.params import load_params
from pipeline.base.paths import Paths, default_root
from pipeline.base.result_groups import ReproduceParams

NETWORK_STAGES = ("fetch",)


@task(cache_policy=NO_CACHE, task_run_name="{stage}", persist_result=False)
def stage_task(stage: str, root: Path, params: ReproduceParams, stale: bool, needs_ran: list[bool]) -> State | bool:
    """True when the stage ran; a state UpToDate holding False when DVC had nothing to do.

    stale: what DVC said at the start of the flow. needs_ran: whether each stage this one needs has run since.
    """
    logger = get_run_logger()
    if not stale and not (any(needs_ran) and stale_stages(root, [stage])):
        return Completed(name="UpToDate", message=f"'{stage}' is up to date", data=False)
    try:
        run_stage(root, stage, logger.info, timeout_s=params.stage_timeout_s, busy_wait_s=params.busy_wait_s)
    except DeadlineExceeded as error:
        return Failed(name="TimedOut", message=f"stage '{stage}': {error}")
    return True


@flow(name="reproduce", persist_result=False)
def reproduce(root: Path | None = None) -> dict[str, str]:
    """Stage name → "ran" or "up to date". root: the project's folder; None: the current one.

    Raises RuntimeError naming the stages that failed, and why; stages that need them do not start.
    """
    root = Path(root or default_root()).resolve()
    outcome = run_stages(root)
    publish_results(Paths(root))
    return outcome


def run_stages(root: Path) -> dict[str, str]:
    """Runs every stage of `root` as tasks of the current flow: stage name → "ran" or "up to date"."""
    logger, params = get_run_logger(), load_params(root / "params.yaml").reproduce
    order = stage_order(root)
    stale = stale_stages(root, list(order))
    logger.info(f"{len(order)} stages, stale now: {', '.join(s for s in order if s in stale) or 'none'}")
    futures = {}
    for stage, needs in order.items():
        retries = params.fetch_retries if stage in NETWORK_STAGES else 0
        futures[stage] = stage_task.with_options(
            name=stage,
            retries=retries,
            retry_delay_seconds=exponential_backoff(params.fetch_retry_delay_s) if retries else None,
        ).submit(stage, root, params, stage in stale, [futures[n] for n in needs])
    with ended_together():
        for future in futures.values():
            future.wait()
    failed = {s: f.state.message for s, f in futures.items() if f.state.is_failed() or f.state.is_crashed()}
    if failed:
        waiting = [s for s, f in futures.items() if f.state.is_pending()]
        reasons = "; ".join(f"{stage}: {message}" for stage, message in failed.items())
        held = f"; not started: {', '.join(waiting)}" if waiting else ""
        raise RuntimeError(f"{len(failed)} of {len(order)} stages failed. {reasons}{held}")
    return {s: "ran" if f.result() else "up to date" for s, f in futures.items()}


def main() -> int:
    """Runs the flow once: exit code 0, or 1 when a stage failed."""
    try:
        for stage, what in reproduce().items():
            print(f"{stage}: {what}")
    except Exception as error:
        print(f"reproduce: {line_of(error)}", file=sys.stderr)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    run_and_exit(main)
