"""The pipeline's own image classifier: a small convolutional net trained on the training split.

Its penultimate features carry FID, KID and precision/recall ("FID in the features of the pipeline's
classifier": not comparable with Inception FID), its predictions judge completions. It predicts the label
token, or every categorical token (the attributes of a face) where the schema names no label.

Shapes: N images, H, W pixels, C channels, A predicted tokens, D = 64 features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.rows.cells import predicted_tokens, token_codes, whole_images
from pipeline.rows.permutation import IN_MEMORY_ROWS
from pipeline.rows.row_file import Rows
from pipeline.rows.schema import Schema

FEATURES = 64
EPOCH_IMAGES = 1500  # at most: more epochs, not longer ones, on a large set
LR, WEIGHT_DECAY, LABEL_SMOOTHING = 2e-3, 1e-2, 0.05


class ClassifierNetwork(nn.Module):
    """Features and logits of images scaled to [−1, 1]; 8×8 to 64×64 pixels and beyond.

    classes: number of categories of each predicted token.
    """

    def __init__(self, channels: int, size_px: int, classes: tuple[int, ...]) -> None:
        super().__init__()
        widths = [32, 64] if size_px <= 16 else [32, 64, 64] if size_px <= 32 else [32, 64, 64, 64]
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(4 * widths[-1], FEATURES)
        self.heads = nn.ModuleList(nn.Linear(FEATURES, k) for k in classes)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """((N, D) features, A times (N, classes) logits) of (N, C, H, W) images."""
        features = functional.relu(self.hidden(self.convolutions(images)))
        return features, [head(features) for head in self.heads]


class ImageClassifier:
    """A trained classifier of rows: `features` measure a distribution, `predict` judges single images."""

    def __init__(self, network: ClassifierNetwork, schema: Schema) -> None:
        self.network, self.schema = network.eval(), schema

    def features(self, images: np.ndarray) -> np.ndarray:
        """(N, D) float64 penultimate features of (N, H, W, C) images in the units of the source."""
        return self.read(images)[0]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """(N, A) int64 predicted codes of (N, H, W, C) images, one column per predicted token."""
        return self.read(images)[1]

    @torch.inference_mode()
    def read(self, images: np.ndarray, batch_size: int = 1024) -> tuple[np.ndarray, np.ndarray]:
        """(features (N, D) float64, predicted codes (N, A) int64) in one pass."""
        features, codes = [], []
        for start in range(0, len(images), batch_size):
            part = _scaled(images[start : start + batch_size], self.schema.pixel_range)
            f, logits = self.network(part.to(next(self.network.parameters()).device))
            features.append(f.double().cpu().numpy())
            codes.append(torch.stack([one.argmax(1) for one in logits], 1).cpu().numpy())
        return np.concatenate(features), np.concatenate(codes)


def train_classifier(
    schema: Schema,
    rows: Rows,
    *,
    epochs: int = 60,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda epochs: None,
) -> ImageClassifier:
    """A classifier trained on (N, C) training rows with random shifts of up to a fourteenth of the image.

    Rows with a missing pixel are left out, missing codes count nothing. An epoch is at most 1,500 images; rows in a
    file are read batch by batch.
    progress: called with 1 after each epoch. Deterministic for one seed and thread count; the global random state
    is left as it was. Raises ValueError without an image, without a categorical token, or for less than 2 whole rows.
    """
    classes = tuple(schema.tokens[i].width for i in predicted_tokens(schema))
    if schema.image is None or not classes:
        raise ValueError(
            "'schema' must have an image and a categorical token to train a classifier. Got neither or one."
        )
    rows = whole_images(schema, rows)
    if len(rows) < 2:
        raise ValueError(f"'rows' must hold at least 2 rows without a missing pixel. Got {len(rows)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ClassifierNetwork(schema.image[2], max(schema.image[:2]), classes).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
        for epoch in range(epochs):
            for group in optimiser.param_groups:
                group["lr"] = LR * (1 - epoch / epochs)
            _epoch(network, optimiser, rows, schema, batch_size)
            progress(1)
    return ImageClassifier(network, schema)


def _epoch(
    network: ClassifierNetwork, optimiser: torch.optim.Optimizer, rows: Rows, schema: Schema, batch_size: int
) -> None:
    shift, device = max(1, schema.image[0] // 14), network.hidden.weight.device
    if len(rows) <= IN_MEMORY_ROWS:
        order = torch.randperm(len(rows))[:EPOCH_IMAGES]
    else:  # an order of all would take more memory than the images; that one comes twice is unlikely
        order = torch.randint(len(rows), (EPOCH_IMAGES,))
    for index in order.split(batch_size):
        if len(index) < 2:  # batch statistics need two rows
            continue
        read = rows[index.numpy()]
        x, codes = _scaled(schema.images(read), schema.pixel_range).to(device), token_codes(schema, read)
        moves = torch.randint(-shift, shift + 1, (2,)).tolist()
        logits = network(torch.roll(x, moves, (2, 3)))[1]
        y, known = torch.from_numpy(codes).to(device), (codes >= 0).any(0)
        losses = [
            functional.cross_entropy(part, y[:, a], label_smoothing=LABEL_SMOOTHING, ignore_index=-1)
            for a, part in enumerate(logits)
            if known[a]
        ]
        if not losses:
            continue
        optimiser.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()
        optimiser.step()


def _scaled(images: np.ndarray, pixel_range: tuple[float, float]) -> Tensor:
    """(N, C, H, W) float32 in [−1, 1]."""
    low, high = pixel_range
    pixels = (np.asarray(images, np.float32) - (low + high) / 2) / ((high - low) / 2)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
