"""Flow retrain, what a schedule triggers: new data? → rebuild as a DVC experiment → gate → promote, or say why not.

    python -m flows.retrain

It builds in a workshop (flows/workshop.py) at the project's last commit: the user's folder stays as it is, and a
killed run is taken up where it stopped. Nothing is built when data, code and parameters are those of the last
run. A run that meets another one at work ends in the state Skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.tasks import exponential_backoff

from flows import registry
from flows.command import run_and_exit
from flows.dvc_tasks import child_environment, run_stage, stale_stages
from flows.gate import Decision, judge
from flows.process import stream
from flows.reproduce import NETWORK_STAGES, run_stages
from flows.show import publish_results
from flows.workshop import WorkshopBusy, save_experiment, workshop, workshop_folder
from pipeline.base.files import write_json
from pipeline.base.params import Params, load_params, to_dict
from pipeline.base.paths import Paths, default_root

MODEL_DEPENDENCY = "data/models/generator"


@flow(name="retrain", persist_result=False)
def retrain(root: Path | None = None) -> State | dict[str, object]:
    """What was decided: promote, reason, experiment, revision; a state Skipped or Unchanged when nothing was built."""
    root, logger = Path(root or default_root()).resolve(), get_run_logger()
    registry.check_committer(root)
    try:
        last = _last_run(root)
        with workshop(root, "retrain", logger.info, built=last.get("revision")) as folder:
            params = load_params(folder / "params.yaml")
            fetch_again(folder, params)
            promoted = registry.promoted(root)
            if promoted is not None:
                registry.export(root, promoted)  # a run killed between promotion and export is completed
                if not _is_stale(folder) and last.get("fingerprint") == _fingerprint(folder, params):
                    return Completed(name="Unchanged", message="data, code and parameters are those of the last run")
            return build_and_judge(root, folder, params)
    except WorkshopBusy as error:
        return Completed(name="Skipped", message=f"another retrain is at work: {error}")


def build_and_judge(root: Path, folder: Path, params: Params) -> dict[str, object]:
    """Builds what is stale, saves the experiment, and promotes it when the gate lets it pass."""
    logger = get_run_logger()
    run_stages(folder)
    name = f"retrain-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    revision = save_experiment(root, folder, name, logger.info)
    promoted = registry.promoted(root)
    new = json.loads((Paths(folder).metrics / "evaluate.json").read_text(encoding="utf8"))
    old, note = (None, "") if promoted is None else promoted_metrics(root, folder, promoted, revision, params)
    decision = judge(new, old, params.retrain)
    decision = Decision(decision.promote, decision.reason + note)
    if decision.promote:
        promoted = registry.promote(root, revision, decision.reason)
    write_json(_record(root), {"revision": revision, "fingerprint": _fingerprint(folder, params)})
    kept = f"{promoted.version} ({promoted.revision[:12]})"
    text = f"promoted as {kept}" if decision.promote else f"not promoted; {kept} stays"
    logger.info(f"{name}: {text}: {decision.reason}")
    create_markdown_artifact(f"**{name}** {text}\n\n{decision.reason}", key="decision")
    publish_results(Paths(folder))
    return {"promote": decision.promote, "reason": decision.reason, "experiment": name, "revision": revision}


@task(name="fetch again", cache_policy=NO_CACHE, persist_result=False)
def _fetch_task(folder: Path, timeout_s: float, busy_wait_s: float) -> None:
    for stage in NETWORK_STAGES:
        run_stage(folder, stage, get_run_logger().info, timeout_s=timeout_s, busy_wait_s=busy_wait_s, force=True)


def fetch_again(folder: Path, params: Params) -> None:
    """Runs fetch although DVC calls it up to date: it alone can see that the source has new data."""
    limits = params.reproduce
    _fetch_task.with_options(
        retries=limits.fetch_retries, retry_delay_seconds=exponential_backoff(limits.fetch_retry_delay_s)
    )(folder, limits.stage_timeout_s, limits.busy_wait_s)


def promoted_metrics(
    root: Path, folder: Path, promoted: registry.Promoted, revision: str, params: Params
) -> tuple[dict[str, float], str]:
    """Metrics of the promoted model to compare with, and a remark on where they come from.

    Its own, when both were evaluated alike; measured again on today's test rows when data or evaluation changed;
    its own, with a remark, when it cannot be applied to today's rows.
    """
    if _evaluation(root, promoted.revision) == _evaluation(root, revision):
        return registry.metrics_of(root, promoted.revision), ""
    model = Paths(root).promoted / "generator" / "schema.json"
    if model.read_bytes() != (Paths(folder).tokens / "schema.json").read_bytes():
        note = "; the promoted model was measured on its own test rows, since today's have another schema"
        return registry.metrics_of(root, promoted.revision), note
    return measure_promoted(root, folder, params), "; the promoted model was measured again on today's test rows"


def measure_promoted(root: Path, folder: Path, params: Params) -> dict[str, float]:
    """evaluate.json of the promoted model on the workshop's test rows. Raises RuntimeError when evaluate fails."""
    again = Paths(folder / ".dvc" / "tmp" / "promoted")
    again.models.mkdir(parents=True, exist_ok=True)
    again.params.write_bytes(Paths(folder).params.read_bytes())
    links = ((again.tokens, Paths(folder).tokens), (again.generator, Paths(root).promoted / "generator"))
    for link, target in links:
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())
    environment = child_environment() | {"BIGLEARN_ROOT": str(again.root)}
    code = stream(
        [sys.executable, "-m", "pipeline.evaluate"],
        folder,
        get_run_logger().info,
        timeout_s=params.reproduce.stage_timeout_s,
        environment=environment,
    )
    if code:
        raise RuntimeError(f"the promoted model could not be measured again: evaluate ended with code {code}")
    return json.loads((again.metrics / "evaluate.json").read_text(encoding="utf8"))


def _evaluation(root: Path, revision: str) -> object:
    """What evaluate read in `revision` (hashes of code and data, parameters), the model aside."""
    lock = yaml.safe_load(registry.git(root, "show", f"{revision}:dvc.lock"))["stages"]["evaluate"]
    return [d for d in lock["deps"] if d["path"] != MODEL_DEPENDENCY], lock.get("params")


def _is_stale(folder: Path) -> bool:
    from flows.dvc_tasks import stage_order

    return bool(stale_stages(folder, list(stage_order(folder))))


def _fingerprint(folder: Path, params: Params) -> str:
    text = (folder / "dvc.lock").read_text(encoding="utf8") + json.dumps(to_dict(params.retrain), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _last_run(root: Path) -> dict[str, str]:
    """revision and fingerprint of what the gate saw last; empty before the first time."""
    return json.loads(_record(root).read_text(encoding="utf8")) if _record(root).is_file() else {}


def _record(root: Path) -> Path:
    return workshop_folder(root, "retrain").with_suffix(".json")


def main() -> int:
    """Runs the flow once and prints its outcome: exit code 0, or 1 when it failed."""
    state = retrain(return_state=True)
    if not state.is_completed():
        print(f"retrain: {state.message}", file=sys.stderr)
        return 1
    result = state.result() if state.name == "Completed" else None
    print(f"retrain: {result['reason'] if result else f'{state.name}: {state.message}'}")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    run_and_exit(main)
