"""A second reader and writer of stored tiles, alpha and metadata, written from FORMAT.md.

Latents and residuals are not decoded.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from tests.support.layout import (
    ALPHA,
    CONVERTED,
    DEEP,
    METADATA,
    RESIDUAL,
    RGB,
    STORED,
    Entry,
    Fields,
    Metadata,
    Refused,
    build,
    entry,
    parse,
)

Samples = NDArray[Any]


def _planes(samples: Samples) -> bytes:
    """Return 8-bit samples as they are, and 16-bit samples as all upper, then all lower bytes."""
    if samples.dtype == np.uint8:
        return samples.tobytes()
    return (samples >> 8).astype(np.uint8).tobytes() + samples.astype(np.uint8).tobytes()


def _samples(content: bytes, shape: tuple[int, ...], depth: int) -> Samples:
    planes = np.frombuffer(content, np.uint8).reshape(-1, *shape)
    samples: Samples = planes[0] if depth == 8 else planes[0].astype(np.uint16) << 8 | planes[1]
    return samples


def _pack(content: bytes) -> bytes:
    frame = zstandard.compress(content)
    return frame if len(frame) < len(content) else content


def unpack(payload: bytes, size: int) -> bytes:
    """Return the `size` bytes that a payload represents."""
    if len(payload) == size:
        return payload
    if len(payload) > size:
        raise Refused("FormatError", "longer than what it stands for")
    try:
        if zstandard.get_frame_parameters(payload).content_size != size:
            raise Refused("FormatError", "the frame states another size")
        return zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Refused("FormatError", str(error)) from None


def filtered(alpha: Samples, number: int) -> Samples:
    """Apply alpha filter `number`. Integers wrap around."""
    left, above, corner = (np.zeros_like(alpha) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = alpha[:, :-1], alpha[:-1], alpha[:-1, :-1]
    values: Samples = alpha - left * (number > 0) - (above - corner) * (number > 1)
    return values


def unfiltered(values: Samples, number: int) -> Samples:
    """Invert `filtered`."""
    for axis in (1, 0)[:number]:
        values = np.cumsum(values, axis, dtype=values.dtype)
    return values


def _check(content: bytes, crc: int, samples: Samples, depth: int) -> Samples:
    if zlib.crc32(content) != crc:
        raise Refused("ChecksumMismatch", "content")
    if int(samples.max()) >> depth:
        raise Refused("FormatError", "a sample is over the depth")
    return samples


def read(data: bytes) -> tuple[Samples | None, Samples | None, dict[int, bytes]]:
    """Return colour as H×W×C, alpha as H×W, and the metadata.

    Colour is None if the file has latents. Alpha is None if the file has no alpha.
    """
    fields, payloads = parse(data)
    found = {
        item.kind: unpack(payload, item.size)
        for item, payload in zip(fields.metadata, payloads, strict=False)
    }
    rest = iter(zip(fields.index, payloads[len(fields.metadata) :], strict=True))
    kind, width = (np.uint8, 1) if fields.depth == 8 else (np.uint16, 2)
    channels = 3 if fields.mode & RGB else 1
    colour = np.zeros((fields.height, fields.width, channels), kind)
    alpha = np.zeros((fields.height, fields.width), kind)
    for top, left, height, columns in fields.tiles:
        part = np.s_[top : top + height, left : left + columns]
        item, payload = next(rest)
        if fields.mode & STORED:
            content = unpack(payload, height * columns * channels * width)
            samples = _samples(content, (height, columns, channels), fields.depth)
            colour[part] = _check(content, item.content_crc, samples, fields.depth)
        if fields.mode & RESIDUAL:
            next(rest)
        if fields.mode & ALPHA:
            item, payload = next(rest)
            alpha[part] = _alpha(item, payload, (height, columns), fields.depth, width)
    has_alpha = bool(fields.mode & ALPHA)
    return colour if fields.mode & STORED else None, alpha if has_alpha else None, found


def _alpha(item: Entry, payload: bytes, shape: tuple[int, int], depth: int, width: int) -> Samples:
    if not payload:
        raise Refused("FormatError", "alpha without its filter")
    if payload[0] > 2:
        raise Refused("UnsupportedVersion", "filter")
    content = unpack(payload[1:], shape[0] * shape[1] * width)
    samples = unfiltered(_samples(content, shape, depth), payload[0])
    return _check(_planes(samples), item.content_crc, samples, depth)


def write(
    colour: Samples,
    *,
    alpha: Samples | None = None,
    depth: int = 8,
    source: int = 0,
    metadata: Mapping[int, bytes] | None = None,
    side: int = 16,
    alpha_filter: int = 0,
) -> bytes:
    """Return a stored file of colour H×W×C and alpha H×W, uint8 or uint16."""
    height, width, channels = colour.shape
    mode = STORED | RGB * (channels == 3) | ALPHA * (alpha is not None) | DEEP * (depth > 8)
    fields = Fields(mode, width, height, [], side, depth, source)
    fields.mode |= METADATA * bool(metadata) | CONVERTED * bool(source)
    payloads = []
    for kind, content in sorted((metadata or {}).items()):
        payloads.append(_pack(content))
        crc = zlib.crc32(payloads[-1])
        fields.metadata.append(Metadata(kind, len(payloads[-1]), len(content), crc))
    for top, left, rows, columns in fields.tiles:
        part = np.s_[top : top + rows, left : left + columns]
        content = _planes(colour[part])
        payloads.append(_pack(content))
        fields.index.append(entry(payloads[-1], content))
        if alpha is not None:
            packed = _pack(_planes(filtered(alpha[part], alpha_filter)))
            payloads.append(bytes([alpha_filter]) + packed)
            fields.index.append(entry(payloads[-1], _planes(alpha[part])))
    return build(fields, payloads)


def examples() -> dict[str, bytes]:
    """Stored files of every kind: all modes, depths, filters, sources and kinds of metadata."""
    made: dict[str, bytes] = {}
    rng = np.random.default_rng(12)
    for channels, depth, alpha in itertools.product((1, 3), (8, 9, 12, 16), (None, 0, 1, 2)):
        kind = np.uint8 if depth == 8 else np.uint16
        steps = rng.integers(0, 1 << depth, (9, 11, channels + 1)).repeat(7, 0).repeat(8, 1).astype(kind)
        number = len(made)
        metadata = {kind: rng.bytes(20) + bytes(40 * kind) for kind in range(1, 4) if number >> kind & 1}
        if number % 3 == 1:
            metadata[4] = bytes([9, 16, 0, number & 1])
        name = f"{'RGB' if channels == 3 else 'gray'}-{depth}" + ("" if alpha is None else f"-alpha{alpha}")
        made[name] = write(
            steps[..., :channels],
            alpha=None if alpha is None else steps[..., channels],
            alpha_filter=alpha or 0,
            depth=depth,
            source=number % 5 if depth == 8 else 0,
            metadata=metadata,
            side=1 if number % 3 else 2,
        )
    return made
