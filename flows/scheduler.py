"""What a Prefect server holds before its worker starts: the work pool, and an end for runs whose heart has stopped.

python -m flows.scheduler [URL]           # of flows.reports.report_server, where there is one
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.events.actions import ChangeFlowRunState
from prefect.events.filters import EventFilter
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Crashed

from flows.reports import announce
from pipeline.base.paths import default_root

POOL = "local"
MISSED_HEART_S = 120  # seconds without a heartbeat after which a run counts as crashed; a heart beats every 30
DEAD = "no heartbeat: its process or machine is gone"
_HEARTBEAT = "prefect.flow-run.heartbeat"
_AUTOMATION = "End runs whose heart stopped"


def prepare() -> None:
    """Creates pool and automation where they are missing; ends runs that died while no server watched."""
    with get_client(sync_client=True) as client:
        create_pool(client)
        create_automation(client)
        for name in end_dead_runs(client):
            print(f"run '{name}' is Crashed now: {DEAD}")


def create_pool(client: SyncPrefectClient) -> None:
    """The process work pool `local`."""
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        print(f"work pool '{POOL}' exists")


def create_automation(client: SyncPrefectClient) -> None:
    """Crashed for every run that has sent a heartbeat and sends no other, nor its end, within MISSED_HEART_S."""
    if any(found.name == _AUTOMATION for found in client.read_automations()):
        return
    ends = {f"prefect.flow-run.{end}" for end in ("Completed", "Failed", "Cancelled", "Crashed")}
    Automation(
        name=_AUTOMATION,
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *ends},
            posture=Posture.Proactive,
            threshold=1,
            within=MISSED_HEART_S,
        ),
        actions=[ChangeFlowRunState(state="CRASHED", message=DEAD)],
    ).create()


def end_dead_runs(client: SyncPrefectClient, silent_s: float = MISSED_HEART_S) -> list[str]:
    """Names of the runs that were Running without a heartbeat for `silent_s` seconds, and are Crashed now.

    The automation never saw them: they were started by hand, with a temporary server that died with them.
    """
    since = datetime.now(UTC) - timedelta(seconds=silent_s)
    running = FlowRunFilter(state={"type": {"any_": ["RUNNING"]}}, start_time={"before_": since})
    ended = []
    for run in client.read_flow_runs(flow_run_filter=running):
        beats = EventFilter(
            occurred={"since": since}, event={"name": [_HEARTBEAT]}, resource={"id": [f"prefect.flow-run.{run.id}"]}
        )
        if not client.read_events(beats, limit=1).events:
            client.set_flow_run_state(run.id, Crashed(message=DEAD), force=True)
            ended.append(run.name)
    return ended


if __name__ == "__main__":
    prepare()
    if len(sys.argv) > 1:
        announce(default_root(), sys.argv[1])
