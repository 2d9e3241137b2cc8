"""The task distribution q(S, T): which tokens are given, which are asked for, drawn millions of rows a second."""

from kernels.task_sampling.api import apply_missing, sample_pairs, sample_tasks
from kernels.task_sampling.bank import TaskBank, write_bank
from kernels.task_sampling.packing import pack_roles, unpack_roles
from kernels.task_sampling.spec import FAMILIES, GAP_FAMILIES, HIDDEN, SOURCE, TARGET, Tasks, TaskSpec

__all__ = [
    "FAMILIES",
    "GAP_FAMILIES",
    "HIDDEN",
    "SOURCE",
    "TARGET",
    "TaskBank",
    "TaskSpec",
    "Tasks",
    "apply_missing",
    "pack_roles",
    "sample_pairs",
    "sample_tasks",
    "unpack_roles",
    "write_bank",
]
