"""Encoding of pixels to files. The inverse is `codec.engine.decoding`.

    picture ─ windows ─ analysis (─ search) ─ latents of tiles ─ payloads ─┬─ container
         └─ minus the pixels decoded from payloads ─ residual of tiles ────┘

Each thread holds at most one batch of windows of the picture in memory at a time.

All networks run in float32. The last bits of a float sum depend on the machine and on the number of
threads, so that a latent near a tie may be rounded differently, and files may differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import limits
from codec.coding.distortion import distortion_of
from codec.coding.effort import DEFAULT_EFFORT, EFFORTS, Effort, Progress
from codec.coding.latents import Payload, encode_latents
from codec.coding.residual import pack_residual, quantize_residual, step_of
from codec.coding.search import Window, refine
from codec.coding.stored import bytes_of, pack, pack_alpha, pack_metadata, to_bytes
from codec.engine.decoding import decode_bands
from codec.engine.loaded_model import LoadedModel
from codec.engine.parallel import Workers
from codec.engine.tile_jobs import Job, Shares, batches_of
from codec.errors import LimitExceeded
from codec.format import container, tiling
from codec.format.container import File
from codec.format.header import MODEL_ID_BYTES, Header, parse_header
from codec.format.index import Tile, make_tile
from codec.format.metadata import Metadata
from codec.format.tiling import Box
from codec.model.config import PIXELS_PER_LATENT
from codec.model.network import rate_weight
from codec.pictures.picture import Picture
from codec.pictures.transparency import fill

_Entries = list[tuple[bytes, int]]
"""Payloads, each with its content CRC."""

TILE_SIZE = 1024
"""Side in pixels of the tiles that the encoder writes.

At this size, the halo increases the work by a third."""

_HALO = 5
"""Number of latents around a tile that its analysis includes, as far as they are in the picture.

Layers of the analysis transform reach further, but what they see there has no measurable effect."""

_SHARE_OF_LATENTS = 0.5
"""Share of the encoding time that latents take, for a picture with a residual layer."""


def encode_pictures(
    model: LoadedModel,
    pictures: Sequence[Picture],
    level: int,
    tile_size: int = TILE_SIZE,
    *,
    effort: Effort = EFFORTS[DEFAULT_EFFORT],
    progress: Progress = lambda share: None,
    metadata: Metadata | None = None,
) -> list[bytes]:
    """Return one file for each picture, in order, with `metadata` in each."""
    task = _Task(level, tile_size, effort, metadata or Metadata())
    if not effort.iterations:
        return _encode(model, pictures, task, progress)
    # Pictures that are stored losslessly need no search: find them first.
    plain = dataclasses.replace(task, effort=dataclasses.replace(effort, iterations=0))
    files = _encode(model, pictures, plain, lambda share: None)
    worth = [index for index, data in enumerate(files) if not parse_header(data)[0].stored]
    found = _encode(model, [pictures[index] for index in worth], task, progress)
    for index, data in zip(worth, found, strict=True):
        files[index] = data
    return files


def _encode(model: LoadedModel, pictures: Sequence[Picture], task: _Task, progress: Progress) -> list[bytes]:
    effort, objective = task.effort, model.objective
    entries: list[_Entries] = []
    for picture in pictures:
        count = tiling.tile_count(picture.height, picture.width, task.tile_size)
        if count > limits.MAX_TILES:
            raise LimitExceeded(f"{count} tiles are over the limit of {limits.MAX_TILES}")
        entries.append([(b"", 0)] * count)
    batches = batches_of(pictures, max(_HALO, model.networks.config.halo), task.tile_size)
    levels = torch.tensor([task.level], device=model.device)
    residual = any(step_of(task.level, picture.depth) for picture in pictures)
    coded = _SHARE_OF_LATENTS if residual else 1.0
    shares = Shares(lambda share: progress(coded * share), sum(map(len, entries)))

    def search(job: Job, pixels: NDArray[np.float32], y: Tensor) -> Tensor:
        inside = job.window.scaled(PIXELS_PER_LATENT).intersection(pictures[job.picture].box)
        distortion = distortion_of(
            objective.metric, torch.from_numpy(pixels).to(model.device)[None], inside.height, inside.width,
            float(rate_weight(levels, *objective.lambdas)),
        )
        window = Window(distortion, job.inner, levels, model.tables.skip)
        report = functools.partial(shares.report, job)
        return refine(model.soft, window, y, objective.dead_zone, effort.iterations, report)

    def encode_batch(batch: list[Job]) -> list[Payload]:
        n = levels.expand(len(batch))
        windows = [_window(pictures[job.picture], job.window) for job in batch]
        colours = [np.broadcast_to(window, (*window.shape[:2], 3)) for window in windows]
        with torch.no_grad():
            y = model.networks.analysis(torch.from_numpy(np.stack(colours)).to(model.device), n)
        if effort.iterations:
            y = torch.cat([search(*each) for each in zip(batch, windows, y.split(1), strict=True)])
        else:
            y = y[:, batch[0].inner.slices[0], batch[0].inner.slices[1]]
        for job in batch:
            shares.report(job, 1.0)
        # The search returns latents that must be rounded to the nearest, without a dead zone.
        dead_zone = 0.0 if effort.iterations else objective.dead_zone
        return encode_latents(model.networks, model.tables, y, n, dead_zone)[0]

    if effort.iterations:
        _ = model.soft  # made here, and not by several threads at once
    with Workers(shares.stop, shares.tell) as workers:
        for batch, payloads in zip(batches, workers.run(encode_batch, batches), strict=True):
            for job, payload in zip(batch, payloads, strict=True):
                entries[job.picture][job.tile] = (payload.data, payload.symbols_crc)
    files: list[bytes] = []

    def report(share: float) -> None:
        progress(coded + (1 - coded) * (len(files) + share) / len(pictures))

    for picture, entry in zip(pictures, entries, strict=True):
        files.append(_assemble(model, picture, task, entry, report))
        report(0.0)
    return files


def _assemble(
    model: LoadedModel, picture: Picture, task: _Task, entries: _Entries, progress: Progress
) -> bytes:
    zstd_level = task.effort.zstd_level
    header = Header(
        width=picture.width,
        height=picture.height,
        channels=picture.channels,
        stored=False,
        model_id=model.model_id,
        level=task.level,
        tile_size=task.tile_size,
        tiles=_index(entries),
        step=step_of(task.level, picture.depth),
        depth=picture.depth,
        source=picture.source,
    )
    residual = _residual(model, picture, header, entries, progress) if header.step else []
    limit = sum(len(data) for data, _ in (*entries, *residual))
    stored = _store(picture, task.tile_size, limit, zstd_level)
    if stored is not None:
        entries, residual = stored, []
        header = dataclasses.replace(
            header, stored=True, model_id=bytes(MODEL_ID_BYTES), level=0, step=0, tiles=_index(stored)
        )
    tiles_of_alpha = _tile_boxes(picture, task.tile_size) if picture.has_alpha else []
    alpha = [pack_alpha(picture.alpha(box), zstd_level) for box in tiles_of_alpha]
    sections, pieces = pack_metadata(task.metadata)
    header = dataclasses.replace(
        header, residual=_index(residual), alpha=_index(alpha), metadata=tuple(sections)
    )
    return container.pack(
        header, _payloads(entries), residual=_payloads(residual), alpha=_payloads(alpha), metadata=pieces
    )


def _residual(
    model: LoadedModel, picture: Picture, header: Header, entries: _Entries, progress: Progress
) -> _Entries:
    """Return payloads of the difference between the picture and its decoded tiles."""
    file = File(header, memoryview(b"".join(_payloads(entries))), 0)
    rows = itertools.groupby(_tile_boxes(picture, header.tile_size), key=lambda box: box.top)
    found = []
    with contextlib.closing(decode_bands(model, file, picture.box, None)) as bands:
        for band, (_, row) in zip(bands, rows, strict=True):
            for box in row:
                samples = picture.read(box)
                colour = samples[:, :, : picture.channels]
                missing = quantize_residual(colour, band[:, box.left : box.right], header.step)
                if picture.has_alpha:
                    missing[samples[:, :, picture.channels] == 0] = 0
                found.append(pack_residual(model.tables, missing))
            progress(len(found) / len(entries))
    return found


@dataclasses.dataclass(frozen=True)
class _Task:
    """The settings that all pictures of a call share."""

    level: int
    tile_size: int
    effort: Effort
    metadata: Metadata


def _window(picture: Picture, latents: Box) -> NDArray[np.float32]:
    """Return the colour of the pixels of `latents`, H×W×C in [0,1].

    Beyond the picture, its last row and column are repeated.
    """
    wanted = latents.scaled(PIXELS_PER_LATENT)
    inside = wanted.intersection(picture.box)
    samples = picture.read(inside)
    colour: NDArray[Any] = samples[:, :, : picture.channels] / np.float32(picture.full)
    if picture.has_alpha:
        colour = fill(colour, samples[:, :, picture.channels] > 0)
    beyond = (0, wanted.height - inside.height), (0, wanted.width - inside.width), (0, 0)
    return np.pad(colour, beyond, mode="edge")


def _index(entries: _Entries) -> tuple[Tile, ...]:
    return tuple(make_tile(data, crc) for data, crc in entries)


def _payloads(entries: _Entries) -> list[bytes]:
    return [data for data, _ in entries]


def _tile_boxes(picture: Picture, tile_size: int) -> list[Box]:
    boxes = tiling.tiles(picture.height, picture.width, tile_size)
    return [box.scaled(PIXELS_PER_LATENT).intersection(picture.box) for box in boxes]


def _store(picture: Picture, tile_size: int, limit: int, zstd_level: int) -> _Entries | None:
    """Return payloads of the colour itself if together they take fewer than `limit` bytes.

    Otherwise return None. Flat graphics and noise are stored in this way. They are decoded exactly,
    and no file is larger than the raw samples and a header. Colour is stored as 0 where alpha is 0.
    """
    boxes = _tile_boxes(picture, tile_size)
    size = bytes_of((picture.height, picture.width, picture.channels), picture.depth)
    # A fast attempt shows whether the slow one is worth the time.
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
