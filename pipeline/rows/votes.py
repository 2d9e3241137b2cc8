"""Agreement of several draws."""

from __future__ import annotations

import numpy as np


def most_frequent(codes: np.ndarray) -> np.ndarray:
    """(N, …) most frequent code over the first axis of (K, N, …) codes ≥ 0; ties go to the smallest."""
    counts = np.stack([(codes == c).sum(0) for c in range(int(codes.max()) + 1)])
    return counts.argmax(0)
