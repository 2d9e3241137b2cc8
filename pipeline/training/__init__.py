"""One training run: batches, losses, the step, its graphs and processes, checkpoints and log."""
