"""A reader at a shell: types the commands of a page one after the other, in a small project under git and DVC."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import yaml

from pipeline.app.project import with_value
from tests.helpers.imports import ROOT
from tests.helpers.prefect_server import free_port
from tests.helpers.projects import commit, with_model

SERVER = {  # pattern of a command that goes on until Ctrl-C → what it says once it serves, and what its page holds
    r"biglearn demo ": (r"demo: (http://\S+)", "<title>"),
    r"make serve": (r"Prefect's pages: (http://\S+)", "<title>Prefect"),
}
LIMIT_S, END_LIMIT_S = 600.0, 180.0  # of a command, and of a server after Ctrl-C; a loaded machine needs them


def project(root: Path) -> Path:
    """A project of three short stages that looks like this repository to whoever types commands in it; two commits."""
    with_model(root)
    text = (ROOT / "params.yaml").read_text(encoding="utf8")
    for name, value in {
        "dataset.path": "incoming",
        "train.steps": 1,
        "train.log_interval": 1,
        "train.lr": 0.01,
    }.items():
        text = with_value(text, name, value)
    (root / "params.yaml").write_text(text, encoding="utf8")
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf8"))
    stages["stages"]["train"]["params"].append("network")
    (root / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False), encoding="utf8")
    for name in ("Makefile", "prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.lock", "pyproject.toml"):  # older than the environment: make builds none
        shutil.copy(ROOT / name, root)
        os.utime(root / name, (0, 0))
    environment = root / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).iterdir():
        (environment / path.name).symlink_to(path)
    (environment / ".ready").unlink(missing_ok=True)
    (environment / ".ready").touch()
    ignored = (
        (root / ".gitignore").read_text(encoding="utf8").replace("/incoming\n", "")
    )  # an experiment's copy has it too
    ignored += "/.venv\n/photos\n/model\n*.csv\n*.html\n__pycache__\n"
    (root / ".gitignore").write_text(ignored, encoding="utf8")
    commit(root, "flows")
    return root


class Reader:
    """Types commands in `folder`. home: a folder for Prefect. replaced: text of a page → what stands for it here."""

    def __init__(self, folder: Path, home: Path, replaced: dict[str, str]) -> None:
        self.folder, self.home = folder, home
        here = {k: v for k, v in os.environ.items() if k not in ("BIGLEARN_ROOT", "PREFECT_API_URL", "VIRTUAL_ENV")}
        path = os.pathsep.join([str(Path(sys.executable).parent), here["PATH"]])
        self.environment = here | {
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "PREFECT_HOME": str(home / "prefect"),
            "OMP_NUM_THREADS": "1",
            "PORT": (port := str(free_port())),
        }
        self.replaced = {**replaced, "127.0.0.1:4200": f"127.0.0.1:{port}"}
        self.before: list[str] = []  # `source` and `export`, which hold for what is typed after them
        self.servers: list[tuple[subprocess.Popen, Path]] = []

    def type(self, command: str) -> str:
        """What the command printed; of a server, its first lines. Raises AssertionError when it fails."""
        for text, here in self.replaced.items():
            command = command.replace(text, here)
        server = next((found for pattern, found in SERVER.items() if re.match(pattern, command)), None)
        if server is not None:
            return self._serve(command, *server)
        said, wrong = self.home / "stdout", self.home / "stderr"
        with open(said, "wb") as out, open(wrong, "wb") as error:  # a pipe would be held by workers that stay
            code = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", "\n".join([*self.before, command])],
                cwd=self.folder, env=self.environment, stdout=out, stderr=error, timeout=LIMIT_S, check=False,
            ).returncode  # fmt: skip
        printed, errors = said.read_text(encoding="utf8"), wrong.read_text(encoding="utf8")
        assert code == 0 and "Traceback" not in errors, f"{command}\n{printed}\n{errors}"
        if command.startswith(("source ", "export ")):
            self.before.append(command)
        if command.startswith("dvc queue start"):  # a reader looks at the table when the queue is empty
            limit = time.monotonic() + LIMIT_S
            while re.search("Queued|Running", self.type("dvc queue status")):
                assert time.monotonic() < limit, self.type("dvc queue status")
                time.sleep(3)
        return printed

    def _serve(self, command: str, sign: str, title: str) -> str:
        log = self.home / f"server-{len(self.servers)}.log"
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", "\n".join([*self.before, f"exec {command}"])],
                cwd=self.folder, env=self.environment, stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip
        self.servers.append((process, log))
        limit = time.monotonic() + LIMIT_S
        while not (said := re.search(sign, log.read_text(encoding="utf8"))):
            assert process.poll() is None and time.monotonic() < limit, log.read_text(encoding="utf8")
            time.sleep(0.2)
        with urllib.request.urlopen(said[1], timeout=60) as answer:
            assert title in answer.read().decode("utf8")
        return log.read_text(encoding="utf8")

    def close(self) -> None:
        """Ctrl-C in every server; each must end by itself."""
        for process, log in reversed(self.servers):
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                raise AssertionError(f"Ctrl-C did not end it:\n{log.read_text(encoding='utf8')}") from error
