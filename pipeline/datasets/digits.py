"""digits: 1,797 grey 8×8 images of handwritten digits, 10 classes; inside scikit-learn, no network.

Source: UCI "Optical Recognition of Handwritten Digits" test set (CC BY 4.0), as shipped by scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.base.params import Params
from pipeline.datasets.source import RawData, Source
from pipeline.rows.image_schema import image_label_schema


def load(raw: Path, params: Params) -> RawData:
    """(1797, 65) uint8 rows: 64 pixels 0…16 and the label; prepare splits them."""
    from sklearn.datasets import load_digits

    data = load_digits()
    labels = [str(i) for i in range(10)] if params.prepare.label_token else []
    schema = image_label_schema(8, 8, 1, SOURCE.patch_size_px(params), 0.0, 16.0, labels)
    columns = [data.data, data.target[:, None]] if labels else [data.data]
    return RawData(schema, np.concatenate(columns, 1).astype(np.uint8))


SOURCE = Source("digits", load, default_patch_size_px=2)
