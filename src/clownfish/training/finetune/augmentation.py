"""A photo to a slightly different one of the same thing: cropped, mirrored, lit differently, partly hidden.

By torchvision's transforms. Every photo of every epoch has its own seed, so what is drawn depends neither on the order
of the photos nor on where an interruption fell.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2


class Augmenter:
    """Draws one variant of a photo after another."""

    def __init__(self, size: int, *, flip: bool, seed: int) -> None:
        """Choose what may happen to a photo.

        Args:
            size: side of the photos, pixels.
            flip: photos may be mirrored, left to right.
            seed: of the run.
        """
        crop = v2.RandomResizedCrop(size, scale=(0.6, 1.0), ratio=(0.8, 1.25), antialias=True)
        # no change of hue: the colour often is what tells species apart
        colour = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)
        mirror = [v2.RandomHorizontalFlip()] if flip else []
        self._transform = v2.Compose([crop, *mirror, colour, v2.RandomErasing(p=0.25, scale=(0.02, 0.15))])
        self._seed = seed

    def draw(self, pixels: NDArray[np.uint8], epoch: int, row: int) -> Any:
        """Draw a variant.

        Args:
            pixels: shape (size, size, 3).
            epoch: which pass over the photos.
            row: number of the photo.

        Returns:
            A uint8 tensor of shape (size, size, 3); the same arguments give the same.
        """
        # The transforms draw from PyTorch's common generator, which nothing else here draws from. `torch.manual_seed`
        # would seed those of other devices too, and each call of it looks at the stack, as long as a crop takes.
        seed = int(np.random.SeedSequence([self._seed, epoch, row]).generate_state(1, np.uint64)[0] >> 1)
        torch.default_generator.manual_seed(seed)
        return self._transform(torch.from_numpy(pixels).permute(2, 0, 1)).permute(1, 2, 0)
