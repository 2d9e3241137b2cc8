"""Parameters, paths, files and processes: what every stage stands on. Knows nothing of data or models."""
