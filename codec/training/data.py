"""Training pictures, decoded once and kept in memory; crops are cut where they lie."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
VALIDATION_SHARE = 20
"""One file in this many is held out, chosen by a hash of its name so that the split is stable."""


def list_images(folder: Path) -> list[Path]:
    """Picture files under `folder`, sorted; `ValueError` if there is none."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise ValueError(f"no pictures found in {folder}")
    return files


def split(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Training and validation files."""
    held_out = [path for path in files if zlib.crc32(path.name.encode()) % VALIDATION_SHARE == 0]
    held_out = held_out or files[:1]
    chosen = set(held_out)
    kept = [path for path in files if path not in chosen] or files
    return kept, held_out


def read_rgb(path: Path) -> np.ndarray:
    """H×W×3 uint8."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


class CropSampler:
    """Random square crops, flipped and transposed, from pictures held as one uint8 tensor.

    The same code serves CPU and CUDA: on a GPU all pictures lie in device memory and crops are
    gathered there, so that the loader is never the limit.
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
        """Uniform integers in [0, limit) for each limit."""
        return (torch.rand(len(limits), generator=self.generator).double() * limits).long()

    def batch(self, size: int) -> Tensor:
        """`size` crops as N×crop×crop×3 uint8 on the device."""
        which = torch.multinomial(self.chances, size, replacement=True, generator=self.generator)
        height, width = self.sizes[which].unbind(1)
        top = self._integers(height - self.crop + 1)
        left = self._integers(width - self.crop + 1)
        flip_rows, flip_columns, swap = (
            torch.rand(3, size, generator=self.generator) < 0.5
        ).unbind(0)
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
    """`validation_images`, of which there must be one; `ValueError` otherwise."""
    images = list(validation_images(files, smallest=smallest))
    if not images:
        raise ValueError(f"no picture held out for validation is at least {smallest}×{smallest} pixels")
    return images


def validation_images(
    files: list[Path], side: int = 512, most: int = 24, smallest: int = 64
) -> Iterator[np.ndarray]:
    """Centre crops of at most `side`² and at least `smallest`², sides multiples of 64, H×W×3 uint8."""
    for path in files[:most]:
        image = read_rgb(path)
        height, width = (min(length, side) // 64 * 64 for length in image.shape[:2])
        if min(height, width) < smallest:
            continue
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        yield image[top : top + height, left : left + width]
