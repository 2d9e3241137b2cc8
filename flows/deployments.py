"""Hands the deployments of prefect.yaml to the server, and leaves paused what a user has paused.

    python -m flows.deployments               # make serve does it

`prefect deploy` alone sets every schedule as prefect.yaml has it, so a schedule that was paused in the pages would run
again after the next start.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse

from pipeline.base.failures import one_line_errors

COMMAND = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
PAGE = 200  # deployments asked for at a time


@dataclass(frozen=True)
class Pause:
    """What of a deployment is paused: all of it, or some schedules."""

    whole: bool
    every_schedule: bool
    schedules: tuple[object, ...]


def deploy() -> None:
    """Deploys all. Raises RuntimeError with Prefect's words when prefect.yaml cannot be used."""
    with get_client(sync_client=True) as client:
        before = {(d.flow_id, d.name): _pause(d) for d in _deployments(client)}
        done = subprocess.run(
            COMMAND, capture_output=True, encoding="utf8", errors="replace", stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode or "Skipping" in done.stdout:  # a malformed prefect.yaml is only skipped
            raise RuntimeError(f"prefect deploy --all failed; correct prefect.yaml: {done.stdout}{done.stderr}")
        for deployment in _deployments(client):
            pause = before.get((deployment.flow_id, deployment.name))
            if pause is not None:
                _restore(client, deployment, pause)


def _pause(deployment: DeploymentResponse) -> Pause:
    paused = tuple(s.schedule for s in deployment.schedules if not s.active)
    every = bool(deployment.schedules) and len(paused) == len(deployment.schedules)
    return Pause(bool(deployment.paused), every, paused)


def _restore(client: SyncPrefectClient, deployment: DeploymentResponse, pause: Pause) -> None:
    for schedule in deployment.schedules:
        if schedule.active and (pause.every_schedule or schedule.schedule in pause.schedules):
            client.update_deployment_schedule(deployment.id, schedule.id, active=False)
            print(f"the schedule of '{deployment.name}' stays paused")
    if pause.whole and not deployment.paused:
        client.pause_deployment(deployment.id)
        print(f"the deployment '{deployment.name}' stays paused")


def _deployments(client: SyncPrefectClient) -> Iterable[DeploymentResponse]:
    start = 0
    while found := client.read_deployments(limit=PAGE, offset=start):
        yield from found
        start += len(found)


if __name__ == "__main__":
    with one_line_errors("deployments"):
        deploy()
