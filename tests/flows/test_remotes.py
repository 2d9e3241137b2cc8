"""dvc push and pull of a project's outs: a folder as remote, and S3 served on loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.helpers.projects import commit, dvc, run


def push_and_pull(root: Path, away: Path) -> str:
    """Output of the last stage in a fresh clone that took every out from the remote, where nothing ran again."""
    dvc(root, "repro", "--quiet")
    commit(root, "built")
    dvc(root, "push", "--quiet")
    run(root, "git", "clone", "--quiet", str(root), str(away))
    local = root / ".dvc" / "config.local"
    if local.exists():
        (away / ".dvc" / "config.local").write_bytes(local.read_bytes())
    assert not (away / "out").exists()
    dvc(away, "pull", "--quiet")
    assert "d done" not in dvc(away, "repro")
    assert dvc(away, "status").strip() == "Data and pipelines are up to date."
    return (away / "out" / "d").read_text()


def on_path(monkeypatch) -> None:
    """`python` of the stages is this interpreter."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


def test_a_folder_as_remote(small_project, tmp_path, monkeypatch):
    on_path(monkeypatch)
    dvc(small_project, "remote", "add", "--default", "store", str(tmp_path / "store"))
    assert push_and_pull(small_project, tmp_path / "away") == (small_project / "out" / "d").read_text()


@pytest.mark.slow
def test_s3_on_loopback(small_project, tmp_path, monkeypatch):
    on_path(monkeypatch)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        store = boto3.client("s3", endpoint_url=address, **keys)
        store.create_bucket(Bucket="biglearn")
        dvc(small_project, "remote", "add", "--default", "store", "s3://biglearn/outs")
        dvc(small_project, "remote", "modify", "store", "endpointurl", address)
        for key in ("access_key_id", "secret_access_key"):
            dvc(small_project, "remote", "modify", "--local", "store", key, "test")
        assert push_and_pull(small_project, tmp_path / "away") == (small_project / "out" / "d").read_text()
        assert store.list_objects_v2(Bucket="biglearn")["KeyCount"] >= 4
    finally:
        server.stop()


def test_secrets_stay_out_of_git(small_project):
    dvc(small_project, "remote", "add", "store", "s3://biglearn/outs")
    dvc(small_project, "remote", "modify", "--local", "store", "secret_access_key", "hush")
    tracked = subprocess.run(["git", "add", "--all", "--dry-run"], cwd=small_project, capture_output=True, text=True)
    assert "config.local" not in tracked.stdout and ".dvc/config" in tracked.stdout
