"""Convolutions over the assembled image: beside the patches that either network reads, and after the generator's.

Patches are drawn and read side by side, each by a linear map of its token: what crosses an edge between them (a line, a
shade, noise in one but not in the other) has to be agreed upon, or noticed, through attention alone. A few convolutions
see both sides of an edge and the known pixels beside an unknown patch, and the texture within a patch.

Shapes: B rows, G patches, P patch edge, C channels of the image, K channels of the convolutions, W model width,
height = rows · P, width = columns · P.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.rows.schema import Schema


class Assembly:
    """Patches ↔ image, for any number of channels, of a schema with an image."""

    def __init__(self, schema: Schema) -> None:
        assert schema.image is not None
        height, width, self.colours = schema.image
        self.edge = schema.patch_size_px
        self.grid = height // self.edge, width // self.edge

    def image(self, patches: Tensor) -> Tensor:
        """(B, K, height, width) from (B, G, P²K), in each patch row by row, channels last."""
        (rows, columns), edge = self.grid, self.edge
        cut = patches.reshape(len(patches), rows, columns, edge, edge, -1)
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, rows * edge, columns * edge)

    def patches(self, image: Tensor) -> Tensor:
        """The inverse of `image`."""
        (rows, columns), edge = self.grid, self.edge
        cut = image.reshape(len(image), -1, rows, edge, columns, edge)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(len(image), rows * columns, -1)

    def of_patches(self, value: Tensor) -> Tensor:
        """(B, 1, height, width) with one number for each patch. value: (B, G)."""
        return self.image(value[..., None].expand(*value.shape, self.edge**2))


class Refinement(nn.Module):
    """A correction of the generator's patches, from the token features and the image as it is so far.

    It starts at zero: the last convolution's weights do.
    """

    def __init__(self, schema: Schema, width: int, channels: int) -> None:
        super().__init__()
        self.assembly = Assembly(schema)
        colours = self.assembly.colours
        self.features = nn.Linear(width, channels * self.assembly.edge**2)
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
        seen = torch.cat([self.assembly.image(x.to(features.dtype)) for x in (features, known, drawn)], 1)
        hidden = functional.gelu(self.first(seen))
        hidden = hidden + functional.gelu(self.second(hidden))
        return self.assembly.patches(self.last(hidden))


class Stem(nn.Module):
    """What a network reads of the patches beside their linear embedding."""

    def __init__(self, schema: Schema, width: int, channels: int) -> None:
        super().__init__()
        self.assembly = Assembly(schema)
        (self.group,) = (g for g in schema.groups if g.modality == "patch")
        self.n_tokens = schema.n_tokens
        self.first = nn.Conv2d(self.assembly.colours + 1, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.embed = nn.Linear(channels * self.assembly.edge**2, width, bias=False)
        nn.init.normal_(self.embed.weight, std=self.embed.in_features**-0.5)

    def forward(self, features: Tensor, read: Tensor) -> Tensor:
        """(B, L, W) to be added to the embeddings of the tokens, 0 at those that are no patch. features: (B, F), read at
        the patches that (B, L) bool `read` names only."""
        before, after = self.group.tokens[0], self.group.tokens[-1] + 1
        pixels = features[:, self.group.features].reshape(len(features), after - before, -1)
        more = self._of_patches(pixels, read[:, before:after])
        return functional.pad(more, (0, 0, before, self.n_tokens - after))

    def _of_patches(self, pixels: Tensor, visible: Tensor) -> Tensor:
        """(B, G, W). pixels: (B, G, P²C); visible: (B, G) bool."""
        shown = torch.where(visible[..., None], pixels, pixels.new_zeros(()))
        seen = torch.cat([self.assembly.image(shown), self.assembly.of_patches(visible.to(shown.dtype))], 1)
        hidden = functional.gelu(self.first(seen))
        hidden = hidden + functional.gelu(self.second(hidden))
        return self.embed(self.assembly.patches(hidden))
