"""Convolutions over the assembled image, after the transformer has drawn its patches.

Patches are drawn side by side, each by a linear map of its token: what crosses an edge between them (a line, a shade,
noise in one but not in the other) has to be agreed upon by attention alone, and shows as a seam where it was not. Three
convolutions see both sides of an edge, and the known pixels beside an unknown patch.

Shapes: B rows, G patches, P patch edge, C channels of the image, K channels of the refinement, W model width,
height = rows · P, width = columns · P.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.schema import Schema


class Refinement(nn.Module):
    """A correction of the patches, before their tanh, from the token features and the image as it is so far.

    It starts at zero: the last convolution's weights do.
    """

    def __init__(self, schema: Schema, width: int, channels: int) -> None:
        super().__init__()
        if schema.image is None:
            raise ValueError(f"'network.refine_channels' must be 0 without an image. Got {channels}.")
        height, across, colours = schema.image
        self.edge = schema.patch_size_px
        self.grid = height // self.edge, across // self.edge
        self.features = nn.Linear(width, channels * self.edge**2)
        self.first = nn.Conv2d(channels + 2 * colours, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, colours, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, tokens: Tensor, known: Tensor, drawn: Tensor, visible: Tensor) -> Tensor:
        """(B, G, P²C) what is added to the patches before their tanh; meaningful at visible ones.

        tokens: (B, G, W) features of the patch tokens; known: (B, G, P²C) pixels of sources, 0 elsewhere; drawn:
        (B, G, P²C) pixels of targets so far, 0 elsewhere; visible: (B, G) bool, sources and targets.
        """
        features = self.features(tokens) * visible[..., None].to(tokens.dtype)
        seen = torch.cat([self.image(x.to(features.dtype)) for x in (features, known, drawn)], 1)
        hidden = functional.gelu(self.first(seen))
        hidden = hidden + functional.gelu(self.second(hidden))
        return self.patches(self.last(hidden))

    def image(self, patches: Tensor) -> Tensor:
        """(B, K, height, width) from (B, G, P²K), in each patch row by row, channels last."""
        (rows, columns), edge = self.grid, self.edge
        cut = patches.view(len(patches), rows, columns, edge, edge, -1)
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, rows * edge, columns * edge)

    def patches(self, image: Tensor) -> Tensor:
        """The inverse of `image`."""
        (rows, columns), edge = self.grid, self.edge
        cut = image.view(len(image), -1, rows, edge, columns, edge)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(len(image), rows * columns, -1)
