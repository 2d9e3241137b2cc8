"""Kernels: Numba task sampling and mixtures, Triton attention and losses. They import no pipeline."""
