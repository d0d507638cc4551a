"""Training pictures: decoded once, kept in memory, and cut into crops there."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codec.pictures.formats import open_image

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
VALIDATION_SHARE = 20
"""One file in VALIDATION_SHARE is held out for validation.

It is chosen by a hash of its name, so that the split is stable.
"""


def list_images(folder: Path) -> list[Path]:
    """Return the picture files under `folder`, sorted. Raises `ValueError` if there are none."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise ValueError(f"no pictures found in {folder}")
    return files


def split(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Split files into training and validation files."""
    held_out = [path for path in files if zlib.crc32(path.name.encode()) % VALIDATION_SHARE == 0]
    held_out = held_out or files[:1]
    chosen = set(held_out)
    kept = [path for path in files if path not in chosen] or files
    return kept, held_out


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as H×W×3 uint8."""
    with open(path, "rb") as file, open_image(file) as image:
        return np.array(image.convert("RGB"))


class CropSampler:
    """Random square crops, randomly flipped and transposed, of pictures held in one uint8 tensor.

    The same code runs on CPU and CUDA. On a GPU all pictures are in device memory and crops are
    gathered there, so that the loader is never the bottleneck.
    """

    def __init__(self, files: list[Path], crop: int, device: torch.device, seed: int = 0) -> None:
        with ThreadPoolExecutor(4) as pool:
            images = [image for image in pool.map(read_rgb, files) if min(image.shape[:2]) >= crop]
        if not images:
            raise ValueError(f"no picture is at least {crop}×{crop} pixels")
        self.crop = crop
        self.device = device
        self.sizes = torch.tensor([image.shape[:2] for image in images])
        areas = self.sizes.prod(1)
        self.starts = torch.cumsum(areas, 0) - areas
        self.chances = areas.double() / areas.sum()
        self.pixels = torch.from_numpy(np.concatenate([i.reshape(-1, 3) for i in images])).to(device)
        self.generator = torch.Generator().manual_seed(seed)

    def _integers(self, limits: Tensor) -> Tensor:
        """Return a uniform random integer in [0, limit) for each limit."""
        return (torch.rand(len(limits), generator=self.generator).double() * limits).long()

    def batch(self, size: int) -> Tensor:
        """Return `size` random crops as N×crop×crop×3 uint8 on the device."""
        which = torch.multinomial(self.chances, size, replacement=True, generator=self.generator)
        height, width = self.sizes[which].unbind(1)
        top = self._integers(height - self.crop + 1)
        left = self._integers(width - self.crop + 1)
        flip_rows, flip_columns, swap = (torch.rand(3, size, generator=self.generator) < 0.5).unbind(0)
        step = torch.arange(self.crop)
        rows = torch.where(flip_rows[:, None], self.crop - 1 - step, step)
        columns = torch.where(flip_columns[:, None], self.crop - 1 - step, step)
        row_offsets = (top[:, None] + rows) * width[:, None]
        column_offsets = left[:, None] + columns
        offsets = row_offsets[:, :, None] + column_offsets[:, None, :]
        offsets = torch.where(swap[:, None, None], offsets.transpose(1, 2), offsets)
        offsets = offsets + self.starts[which][:, None, None]
        return self.pixels[offsets.to(self.device)]


def usable_images(files: list[Path], smallest: int = 64) -> list[np.ndarray]:
    """Return a list of `validation_images`. Raises `ValueError` if it is empty."""
    images = list(validation_images(files, smallest=smallest))
    if not images:
        raise ValueError(f"no picture held out for validation is at least {smallest}×{smallest} pixels")
    return images


def validation_images(
    files: list[Path], side: int = 512, most: int = 24, smallest: int = 64
) -> Iterator[np.ndarray]:
    """Yield centre crops, H×W×3 uint8, of the first `most` files.

    Crops are at most `side`² and at least `smallest`², with sides that are multiples of 64. Smaller
    pictures are skipped.
    """
    for path in files[:most]:
        image = read_rgb(path)
        height, width = (min(length, side) // 64 * 64 for length in image.shape[:2])
        if min(height, width) < smallest:
            continue
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        yield image[top : top + height, left : left + width]
