"""A loaded model, and from pixels to files; the way back is `codec.decoding`.

    picture ─ windows ─ analysis (─ search) ─ latents of tiles ─ payloads ─┬─ container
         └─ minus what these payloads decode to ─ residual of tiles ───────┘

Of the picture no more than a batch of windows is held at a time.

Analysis runs in float64 (from effort 3 on) although float32 would be accurate enough: threads, batch
size, CPU and library change the last bits of a float sum, and in float32 that turns a few symbols of a
picture over. In float64 they would have to lie within 1e-12 of a tie, so that files come out the same.
The search (from effort 4 on) runs in float32, and its files may differ between machines.
Synthesis runs in float32; pixels may differ by one level between machines, and so may a residual.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import container, limits, tiling
from codec.container import File, Header
from codec.decoding import decode_bands
from codec.effort import DEFAULT_EFFORT, EFFORTS, Effort, Progress
from codec.entropy_coder import TableSet
from codec.errors import LimitExceeded
from codec.image import Picture
from codec.latent_codec import Payload, encode_latents
from codec.lossless import bytes_of, pack, pack_alpha, to_bytes
from codec.metadata import Metadata
from codec.metadata import pack as pack_metadata
from codec.model.config import PIXELS_PER_LATENT
from codec.model.network import Model, rate_weight
from codec.model.weights import Objective
from codec.parallel import Workers
from codec.residual import pack_residual, quantize_residual, step_of
from codec.search import Window, refine, soft_copy, weight_of
from codec.tiling import Box
from codec.transparency import fill

_T = TypeVar("_T")

_Entries = list[tuple[bytes, int]]
"""Payloads, each with its content CRC."""

TILE_SIZE = 1024
"""Pixels along a tile that the encoder writes. The halo costs a third more work at this size."""

_BATCH_PIXELS = 1 << 20
"""Windows of equal shape run together up to this many pixels: bounds the memory of activations."""

_SHARE_OF_LATENTS = 0.5
"""Of the time that a picture with a residual layer takes."""


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
        pictures: Sequence[Picture],
        level: int,
        tile_size: int = TILE_SIZE,
        *,
        effort: Effort = EFFORTS[DEFAULT_EFFORT],
        progress: Progress = lambda share: None,
        metadata: Metadata | None = None,
    ) -> list[bytes]:
        """One file for each picture, in order, with `metadata` in each.

        `ValueError` if the search does not suit the model.
        """
        if effort.iterations and self.objective.metric != "mse":
            raise ValueError(f"efforts over 3 need a model trained for mse, not for {self.objective.metric}")
        task = _Task(level, tile_size, effort, metadata or Metadata())
        if not effort.iterations:
            return self._encode(pictures, task, progress)
        # What is stored losslessly anyway is not searched first.
        plain = dataclasses.replace(task, effort=dataclasses.replace(effort, iterations=0))
        files = self._encode(pictures, plain, lambda share: None)
        worth = [index for index, data in enumerate(files) if not container.parse_header(data)[0].stored]
        found = self._encode([pictures[index] for index in worth], task, progress)
        for index, data in zip(worth, found, strict=True):
            files[index] = data
        return files

    def _encode(self, pictures: Sequence[Picture], task: _Task, progress: Progress) -> list[bytes]:
        jobs = _Jobs(self.halo, task.tile_size)
        effort = task.effort
        for index, picture in enumerate(pictures):
            count = tiling.tile_count(picture.height, picture.width, task.tile_size)
            if count > limits.MAX_TILES:
                raise LimitExceeded(f"{count} tiles are over the limit of {limits.MAX_TILES}")
            jobs.add(index, picture.height, picture.width)
        entries: list[_Entries] = [[(b"", 0)] * count for count in jobs.tile_counts]
        levels = torch.tensor([task.level], device=self.device)
        residual = any(step_of(task.level, picture.depth) for picture in pictures)
        coded = _SHARE_OF_LATENTS if residual else 1.0
        shares = _Shares(lambda share: progress(coded * share), sum(jobs.tile_counts))

        def encode(batch: list[_Job]) -> list[Payload]:
            n = levels.expand(len(batch))
            windows = [_window(pictures[job.picture], job.window) for job in batch]
            y = self._analyse(self._stack(windows), n, effort.exact_analysis)
            if effort.iterations:
                y = torch.cat([
                    self._refine(
                        window, pictures[job.picture].box, job, y[k : k + 1], levels, effort.iterations,
                        functools.partial(shares.report, job),
                    )
                    for k, (job, window) in enumerate(zip(batch, windows, strict=True))
                ])
            else:
                y = y[:, batch[0].inner.slices[0], batch[0].inner.slices[1]]
            for job in batch:
                shares.report(job, 1.0)
            # The search leaves latents where they are to be rounded to the nearest.
            dead_zone = 0.0 if effort.iterations else self.objective.dead_zone
            return encode_latents(self.model, self.tables, y, n, dead_zone)[0]

        batches = list(jobs.batches())
        with Workers(shares.stop, shares.tell) as workers:
            for batch, payloads in zip(batches, workers.run(encode, batches), strict=True):
                for job, payload in zip(batch, payloads, strict=True):
                    entries[job.picture][job.tile] = (payload.data, payload.symbols_crc)
        files: list[bytes] = []

        def report(share: float) -> None:
            progress(coded + (1 - coded) * (len(files) + share) / len(pictures))

        for picture, entry in zip(pictures, entries, strict=True):
            files.append(self._assemble(picture, task, entry, report))
            report(0.0)
        return files

    def _stack(self, windows: Sequence[NDArray[np.float64]]) -> Tensor:
        arrays = [np.broadcast_to(window, (*window.shape[:2], 3)) for window in windows]
        return torch.from_numpy(np.stack(arrays)).to(self.device)

    @torch.no_grad()
    def _analyse(self, x: Tensor, level: Tensor, exact: bool) -> Tensor:
        y: Tensor = self.model.analysis(x, level) if exact else self.soft.analysis(x.float(), level)
        return y.double()

    def _refine(
        self, pixels: NDArray[np.float64], picture: Box, job: _Job, y: Tensor, level: Tensor,
        iterations: int, progress: Progress,
    ) -> Tensor:
        inside = job.window.scaled(PIXELS_PER_LATENT).intersection(picture)
        window = Window(
            pixels=torch.from_numpy(pixels).to(self.device)[None].float(),
            height=inside.height,
            width=inside.width,
            inner=job.inner,
            level=level,
            weight=weight_of(float(rate_weight(level, *self.objective.lambdas)), pixels.shape[2]),
        )
        return refine(self.soft, window, y, self.objective.dead_zone, iterations, progress)

    def _assemble(self, picture: Picture, task: _Task, entries: _Entries, progress: Progress) -> bytes:
        zstd_level = task.effort.zstd_level
        header = Header(
            width=picture.width,
            height=picture.height,
            channels=picture.channels,
            stored=False,
            model_id=self.model_id,
            level=task.level,
            tile_size=task.tile_size,
            tiles=_index(entries),
            step=step_of(task.level, picture.depth),
            depth=picture.depth,
            source=picture.source,
        )
        residual = self._residual(picture, header, entries, progress) if header.step else []
        limit = sum(len(data) for data, _ in (*entries, *residual))
        stored = _store(picture, task.tile_size, limit, zstd_level)
        if stored is not None:
            entries, residual = stored, []
            header = dataclasses.replace(
                header, stored=True, model_id=bytes(container.MODEL_ID_BYTES), level=0, step=0,
                tiles=_index(stored),
            )
        alpha = _pack_alpha(picture, task.tile_size, zstd_level) if picture.has_alpha else []
        sections, pieces = pack_metadata(task.metadata)
        header = dataclasses.replace(
            header, residual=_index(residual), alpha=_index(alpha), metadata=tuple(sections)
        )
        return container.pack(
            header, _payloads(entries), residual=_payloads(residual), alpha=_payloads(alpha), metadata=pieces
        )

    def _residual(
        self, picture: Picture, header: Header, entries: _Entries, progress: Progress
    ) -> _Entries:
        """Payloads of what is left of the picture when a file of these tiles is decoded."""
        file = File(header, memoryview(b"".join(_payloads(entries))), 0)
        rows = itertools.groupby(_tile_boxes(picture, header.tile_size), key=lambda box: box.top)
        found = []
        with contextlib.closing(decode_bands(self, file, picture.box, None)) as bands:
            for band, (_, row) in zip(bands, rows, strict=True):
                for box in row:
                    samples = picture.read(box)
                    colour = samples[:, :, : picture.channels]
                    missing = quantize_residual(colour, band[:, box.left : box.right], header.step)
                    if picture.has_alpha:
                        missing[samples[:, :, picture.channels] == 0] = 0
                    found.append(pack_residual(self.tables, missing))
                progress(len(found) / len(entries))
        return found


@dataclasses.dataclass(frozen=True)
class _Task:
    """What all pictures of a call have in common."""

    level: int
    tile_size: int
    effort: Effort
    metadata: Metadata


class _Job:
    """One tile of one picture and the window that its transforms see."""

    def __init__(self, picture: int, tile: int, box: Box, window: Box) -> None:
        self.picture = picture
        self.tile = tile
        self.box = box
        self.window = window
        self.inner = box.relative_to(window)


class _Shares:
    """How much of each tile is done: told by any thread, passed on by the one that called."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done: dict[_Job, float] = {}
        self._told = 0.0
        self._caller = threading.get_ident()
        self._over = False

    def report(self, job: _Job, share: float) -> None:
        """Note a tile's share; after `stop` this ends its thread."""
        if self._over:
            raise RuntimeError("the call has ended")
        self._done[job] = share
        if threading.get_ident() == self._caller:
            self.tell()

    def tell(self) -> None:
        """Pass on how much is done, if that is more than before."""
        done = sum(list(self._done.values())) / self._total
        if done > self._told:
            self._told = done
            self._progress(done)

    def stop(self) -> None:
        self._over = True


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


def _window(picture: Picture, latents: Box) -> NDArray[np.float64]:
    """The colour under some latents, H×W×C in [0,1]; its last row and column go on beyond it."""
    wanted = latents.scaled(PIXELS_PER_LATENT)
    inside = wanted.intersection(picture.box)
    samples = picture.read(inside)
    colour = samples[:, :, : picture.channels] / float(picture.full)
    if picture.has_alpha:
        colour = fill(colour, samples[:, :, picture.channels] > 0)
    beyond = (0, wanted.height - inside.height), (0, wanted.width - inside.width), (0, 0)
    return np.pad(colour, beyond, mode="edge")


def _index(entries: _Entries) -> tuple[container.Tile, ...]:
    return tuple(container.make_tile(data, crc) for data, crc in entries)


def _payloads(entries: _Entries) -> list[bytes]:
    return [data for data, _ in entries]


def _tile_boxes(picture: Picture, tile_size: int) -> list[Box]:
    boxes = tiling.tiles(picture.height, picture.width, tile_size)
    return [box.scaled(PIXELS_PER_LATENT).intersection(picture.box) for box in boxes]


def _pack_alpha(picture: Picture, tile_size: int, zstd_level: int) -> _Entries:
    return [pack_alpha(picture.alpha(box), zstd_level) for box in _tile_boxes(picture, tile_size)]


def _store(picture: Picture, tile_size: int, limit: int, zstd_level: int) -> _Entries | None:
    """Payloads of the colour itself if, together, they take fewer than `limit` bytes.

    Flat graphics and noise end up here: they come back exactly, and no file is larger than the raw samples
    and a header. Colour that does not show is stored as 0.
    """
    boxes = _tile_boxes(picture, tile_size)
    size = bytes_of((picture.height, picture.width, picture.channels), picture.depth)
    # A fast attempt tells whether the slow one is worth its time.
    quick, enough = 0, max(1.5 * limit + 64, 0 if size > limit else math.inf)
    for box in boxes:
        quick += len(pack(_stored_bytes(picture, box), 1))
        if quick > enough:
            return None
    entries, total = [], 0
    for box in boxes:
        raw = _stored_bytes(picture, box)
        payload = pack(raw, zstd_level)
        entries.append((payload, zlib.crc32(raw)))
        total += len(payload)
        if total >= limit:
            return None
    return entries


def _stored_bytes(picture: Picture, box: Box) -> bytes:
    samples = picture.read(box)
    colour = samples[:, :, : picture.channels]
    if picture.has_alpha:
        colour = np.where(samples[:, :, picture.channels :] > 0, colour, colour.dtype.type(0))
    return to_bytes(colour)
