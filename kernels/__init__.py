"""Kernels: Numba task sampling and mixtures, Triton attention and losses. They import no pipeline."""

from kernels.caches import use_writable_caches

use_writable_caches()  # before Numba is loaded
