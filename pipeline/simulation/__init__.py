"""Gaussian mixtures: BigLearn-EM and the paper's simulations."""
