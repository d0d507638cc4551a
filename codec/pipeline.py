"""A loaded model, and from pixels to files; the way back is `codec.decoding`.

    pixels ─ windows ─ analysis (─ search) ─ latents of tiles ─ payloads ─ container

Analysis runs in float64 (from effort 3 on) although float32 would be accurate enough: threads, batch
size, CPU and library change the last bits of a float sum, and in float32 that turns a few symbols of a
picture over. In float64 they would have to lie within 1e-12 of a tie, so that files come out the same.
The search (from effort 4 on) runs in float32, and its files may differ between machines.
Synthesis runs in float32; pixels may differ by one level between machines.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
import zstandard
from torch import Tensor

from codec import container, tiling
from codec.container import Header
from codec.effort import DEFAULT_EFFORT, EFFORTS, Effort, Progress
from codec.entropy_coder import TableSet
from codec.image import Pixels
from codec.latent_codec import encode_latents
from codec.model.config import PIXELS_PER_LATENT
from codec.model.network import Model, rate_weight
from codec.model.weights import Objective
from codec.search import Window, refine, soft_copy, weight_of
from codec.tiling import Box

_T = TypeVar("_T")

TILE_SIZE = 1024
"""Pixels along a tile that the encoder writes. The halo costs a third more work at this size."""

_BATCH_PIXELS = 1 << 21
"""Windows of equal shape run together up to this many pixels: bounds the memory of activations."""


class Pipeline:
    """A loaded model on a device, its transforms in the precisions that they run in."""

    def __init__(
        self,
        model: Model,
        tables: TableSet,
        model_id: bytes,
        device: torch.device,
        objective: Objective,
    ) -> None:
        self.model = model.to(device)
        self.model.analysis.double()
        self.model.hyper_analysis.double()
        self.tables = tables
        self.model_id = model_id
        self.device = device
        self.objective = objective
        self.halo = model.config.halo

    @functools.cached_property
    def soft(self) -> Model:
        """The model in float32 with gradients, for the search and for analysis at the lowest efforts."""
        return soft_copy(self.model, self.device)

    def encode(
        self,
        images: Sequence[Pixels],
        level: int,
        tile_size: int = TILE_SIZE,
        *,
        effort: Effort = EFFORTS[DEFAULT_EFFORT],
        progress: Progress = lambda share: None,
    ) -> list[bytes]:
        """One file for each picture, in order; `ValueError` if the search does not suit the model."""
        if effort.iterations and self.objective.metric != "mse":
            raise ValueError(f"efforts over 3 need a model trained for mse, not for {self.objective.metric}")
        if effort.iterations:
            return self._search(images, level, tile_size, effort, progress)
        return self._encode(images, level, tile_size, effort, progress)

    def _search(
        self, images: Sequence[Pixels], level: int, tile_size: int, effort: Effort, progress: Progress
    ) -> list[bytes]:
        """As `_encode`, but what is stored losslessly anyway is not searched first."""
        plain = dataclasses.replace(effort, iterations=0)
        files = self._encode(images, level, tile_size, plain, lambda share: None)
        worth = [index for index, data in enumerate(files) if not container.parse_header(data)[0].stored]
        found = self._encode([images[index] for index in worth], level, tile_size, effort, progress)
        for index, data in zip(worth, found, strict=True):
            files[index] = data
        return files

    def _encode(
        self, images: Sequence[Pixels], level: int, tile_size: int, effort: Effort, progress: Progress
    ) -> list[bytes]:
        jobs = _Jobs(self.halo, tile_size)
        padded = [_pad(pixels) for pixels in images]
        for index, pixels in enumerate(images):
            jobs.add(index, pixels.shape[0], pixels.shape[1])
        entries: list[list[tuple[bytes, int]]] = [[(b"", 0)] * count for count in jobs.tile_counts]
        levels = torch.tensor([level], device=self.device)
        finished, total = 0, sum(jobs.tile_counts)
        for batch in jobs.batches():
            n = levels.expand(len(batch))
            y = self._analyse(self._windows(padded, batch), n, effort.exact_analysis)
            if effort.iterations:
                refined = []
                for k, job in enumerate(batch):

                    def report(share: float, before: int = finished + k) -> None:
                        progress((before + share) / total)

                    size = images[job.picture].shape[:2]
                    refined.append(self._refine(
                        padded[job.picture], (size[0], size[1]), job, y[k : k + 1], levels,
                        effort.iterations, report,
                    ))
                y = torch.cat(refined)
            else:
                y = y[:, batch[0].inner.slices[0], batch[0].inner.slices[1]]
            finished += len(batch)
            progress(finished / total)
            # The search leaves latents where they are to be rounded to the nearest.
            dead_zone = 0.0 if effort.iterations else self.objective.dead_zone
            payloads, _ = encode_latents(self.model, self.tables, y, n, dead_zone)
            for job, payload in zip(batch, payloads, strict=True):
                entries[job.picture][job.tile] = (payload.data, payload.symbols_crc)
        return [
            self._assemble(pixels, level, tile_size, entry, effort.zstd_level)
            for pixels, entry in zip(images, entries, strict=True)
        ]

    def _windows(self, padded: Sequence[Pixels], batch: Sequence[_Job]) -> Tensor:
        boxes = [job.window.scaled(PIXELS_PER_LATENT).slices for job in batch]
        arrays = [padded[job.picture][box] for job, box in zip(batch, boxes, strict=True)]
        x = torch.from_numpy(np.stack(arrays)).to(self.device)
        return x.expand(-1, -1, -1, 3).to(torch.float64) / 255

    @torch.no_grad()
    def _analyse(self, x: Tensor, level: Tensor, exact: bool) -> Tensor:
        y: Tensor = self.model.analysis(x, level) if exact else self.soft.analysis(x.float(), level)
        return y.double()

    def _refine(
        self, padded: Pixels, size: tuple[int, int], job: _Job, y: Tensor, level: Tensor,
        iterations: int, progress: Progress,
    ) -> Tensor:
        box = job.window.scaled(PIXELS_PER_LATENT)
        window = Window(
            pixels=torch.from_numpy(padded[box.slices]).to(self.device)[None].float() / 255,
            height=min(box.bottom, size[0]) - box.top,
            width=min(box.right, size[1]) - box.left,
            inner=job.inner,
            level=level,
            weight=weight_of(float(rate_weight(level, *self.objective.lambdas)), padded.shape[2]),
        )
        return refine(self.soft, window, y, self.objective.dead_zone, iterations, progress)

    def _assemble(
        self,
        pixels: Pixels,
        level: int,
        tile_size: int,
        entries: list[tuple[bytes, int]],
        zstd_level: int,
    ) -> bytes:
        height, width, channels = pixels.shape
        stored = _store(pixels, tile_size, sum(len(data) for data, _ in entries), zstd_level)
        header = Header(
            width=width,
            height=height,
            channels=channels,
            stored=stored is not None,
            model_id=bytes(container.MODEL_ID_BYTES) if stored else self.model_id,
            level=0 if stored else level,
            tile_size=tile_size,
            tiles=tuple(container.make_tile(data, crc) for data, crc in stored or entries),
        )
        return container.pack(header, [data for data, _ in stored or entries])


class _Job:
    """One tile of one picture and the window that its transforms see."""

    def __init__(self, picture: int, tile: int, box: Box, window: Box) -> None:
        self.picture = picture
        self.tile = tile
        self.box = box
        self.window = window
        self.inner = box.relative_to(window)


class _Jobs:
    """Tiles of pictures, batched where their windows have the same shape."""

    def __init__(self, halo: int, tile_size: int) -> None:
        self.halo = halo
        self.tile_size = tile_size
        self.tile_counts: list[int] = []
        self.groups: dict[tuple[int, int, Box], list[_Job]] = defaultdict(list)

    def add(self, picture: int, height: int, width: int) -> None:
        boxes = tiling.tiles(height, width, self.tile_size)
        self.tile_counts.append(len(boxes))
        for tile, box in enumerate(boxes):
            job = _Job(picture, tile, box, tiling.window(box, self.halo, height, width))
            self.groups[job.window.height, job.window.width, job.inner].append(job)

    def batches(self) -> Iterator[list[_Job]]:
        for (height, width, _), jobs in self.groups.items():
            yield from _chunks(jobs, height * width * PIXELS_PER_LATENT**2)


def _chunks(items: list[_T], pixels_each: int) -> Iterable[list[_T]]:
    size = max(1, _BATCH_PIXELS // pixels_each)
    return (items[start : start + size] for start in range(0, len(items), size))


def _pad(pixels: Pixels) -> Pixels:
    """Repeat the last row and column up to a multiple of a latent's pixels."""
    height, width = pixels.shape[:2]
    bottom, right = -height % PIXELS_PER_LATENT, -width % PIXELS_PER_LATENT
    return np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="edge")


def _store(pixels: Pixels, tile_size: int, limit: int, zstd_level: int) -> list[tuple[bytes, int]] | None:
    """Payloads of the pixels themselves if, together, they take fewer than `limit` bytes.

    A tile is a zstd frame, or raw where that is not smaller. Flat graphics and noise end up here:
    they come back exactly, and no file is larger than the raw pixels and a header.
    """
    height, width, _ = pixels.shape
    # A fast attempt tells whether the slow one is worth its time.
    quick = len(zstandard.ZstdCompressor(level=1).compress(pixels.tobytes()))
    if quick > 1.5 * limit + 64 and pixels.nbytes > limit:
        return None
    entries = []
    for box in tiling.tiles(height, width, tile_size):
        raw = pixels[box.scaled(PIXELS_PER_LATENT).slices].tobytes()
        packed = zstandard.ZstdCompressor(level=zstd_level).compress(raw)
        # On a tie the pixels: a payload of exactly their length is read as the pixels themselves.
        entries.append((packed if len(packed) < len(raw) else raw, zlib.crc32(raw)))
    return entries if sum(len(data) for data, _ in entries) < limit else None
