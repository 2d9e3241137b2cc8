"""Features of images where there is nothing to classify: their principal components.

FID in these features measures mean and covariance of the pixels along the directions of largest spread. It is
not comparable with FID in the features of a classifier, so its scores carry another name (`pca_fid`, …).

Shapes: N images, H, W pixels, D ≤ 64 features.
"""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from pipeline.rows.cells import whole_images
from pipeline.rows.row_file import Rows
from pipeline.rows.schema import Schema

FEATURES = 64
FITTED_IMAGES = 5000  # at most


class PrincipalComponents:
    """Reads images as their first principal components over whole training rows, in units in which a component has
    mean square 1 on average. Raises ValueError for less than 2 images without a missing pixel."""

    def __init__(self, schema: Schema, rows: Rows, seed: int = 0) -> None:
        rows = whole_images(schema, rows)[:FITTED_IMAGES]
        if len(rows) < 2:
            raise ValueError(f"'rows' must hold at least 2 rows without a missing pixel. Got {len(rows)}.")
        pixels = _flat(schema.images(rows))
        self.pca = PCA(min(FEATURES, *pixels.shape), random_state=seed).fit(pixels)
        self.scale = float(np.sqrt(self.pca.explained_variance_.mean())) or 1.0

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(features (N, D) float64, (N, 0) codes: nothing is predicted) of (N, H, W, channels) images."""
        return self.pca.transform(_flat(images)) / self.scale, np.zeros((len(images), 0), np.int64)


def _flat(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float64).reshape(len(images), -1)
