"""Gaussian-mixture kernels in Numba: stochastic descent, exact divergences, loss surfaces, the E-step's softmax."""

from kernels.gmm.descent import PARAMETER_ROWS, descend, start_parameters
from kernels.gmm.divergence import kl_divergence_2d, standard_normal_nodes
from kernels.gmm.responsibilities import normalise_columns
from kernels.gmm.surfaces import mean_divergence, surface, task_divergence

__all__ = [
    "PARAMETER_ROWS",
    "descend",
    "kl_divergence_2d",
    "mean_divergence",
    "normalise_columns",
    "standard_normal_nodes",
    "start_parameters",
    "surface",
    "task_divergence",
]
