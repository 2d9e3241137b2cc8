"""Data-parallel processes: who am I, averaging over all of them, and starting several on one machine.

Started by `torchrun`, a process reads its place from the environment (RANK, WORLD_SIZE, …). Otherwise
`launch` starts `train.processes` of them over gloo: on CPUs with few cores and small models, processes
scale better than intra-op threads.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from pipeline.base.parent import die_with_parent
from pipeline.base.stopping import Stopped, stop_requests


@dataclass(frozen=True)
class World:
    """process: this one's place, 0 … processes − 1. host_group: gloo group for a few numbers that stay on the CPU."""

    process: int = 0
    processes: int = 1
    host_group: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """True in the one process that writes files."""
        return self.process == 0

    def average(self, values: Tensor) -> None:
        """Averages a tensor, a flat gradient for instance, over all processes, in place."""
        if self.processes > 1:
            dist.all_reduce(values)
            values.div_(self.processes)

    def average_numbers(self, numbers: list[float]) -> list[float]:
        """Means of a few numbers over all processes, without waiting for a device."""
        if self.processes == 1:
            return numbers
        values = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(values, group=self.host_group)
        return (values / self.processes).tolist()

    def barrier(self) -> None:
        """Waits until every process has come here."""
        if self.processes > 1:
            dist.barrier(group=self.host_group)


def started_by_torchrun() -> bool:
    """True when the environment holds a place in a process group."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join(device: torch.device) -> World:
    """The world of this process; joins the process group when there is one (NCCL on cuda, gloo on cpu)."""
    if not started_by_torchrun() or int(os.environ["WORLD_SIZE"]) == 1:
        return World()
    if not dist.is_initialized():
        _meet("nccl" if device.type == "cuda" else "gloo")
    host_group = dist.new_group(backend="gloo") if device.type == "cuda" else None
    return World(dist.get_rank(), dist.get_world_size(), host_group)


def _meet(backend: str) -> None:
    """Joins the process group that torchrun, or `launch`, describes in the environment.

    torchrun keeps one key-value store over restarts of its processes, so that a new one may read the address of a dead
    one (PyTorch issue 135712). On one node the number of restarts is the same for all and sets the keys apart; over
    several nodes it is not: there docs/scaling.md tells what to set.
    """
    restarts, nodes = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), os.environ.get("GROUP_WORLD_SIZE", "1")
    if restarts == "0" or nodes != "1":
        dist.init_process_group(backend)
        return
    store, process, processes = next(dist.rendezvous("env://"))
    own_keys = dist.PrefixStore(f"restart-{restarts}", store)
    dist.init_process_group(backend, store=own_keys, rank=process, world_size=processes)


def leave() -> None:
    """Leaves the process group, when there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def launch(function: Callable[..., None], args: tuple, processes: int) -> None:
    """Runs `function(*args)` in `processes` new processes on this machine and waits for all.

    Raises RuntimeError with the failing process's message; the others are ended with it. A request to stop is handed
    on to all of them, and raised as Stopped when they have saved and ended.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.spawn(_enter, (function, args, processes, port), nprocs=processes, join=False)

    def hand_on() -> None:
        for process in context.processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGTERM)

    try:
        with stop_requests(hand_on) as stop:
            while not context.join():
                pass
    except mp.ProcessExitedException as error:
        if stop and error.exit_code == 128 + signal.SIGTERM:
            raise Stopped(f"stopped by {signal.Signals(stop.signal_number).name}", stop.signal_number) from error
        raise RuntimeError(f"training process {error.error_index} ended with code {error.exit_code}") from error
    except mp.ProcessRaisedException as error:
        if os.environ.get("BIGLEARN_TRACEBACK"):
            raise
        raise RuntimeError(str(error).strip().splitlines()[-1]) from error
    finally:
        for process in context.processes:
            if process.is_alive():
                process.terminate()
                process.join()


def _enter(process: int, function: Callable[..., None], args: tuple, processes: int, port: int) -> None:
    die_with_parent()
    place = {"RANK": process, "LOCAL_RANK": process, "WORLD_SIZE": processes, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()} | {"MASTER_ADDR": "127.0.0.1"})
    try:
        function(*args)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
