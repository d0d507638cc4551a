"""Forge the invalid files of `tests/golden/invalid`: python -m tests.support.make_invalid

The name of each file begins with the error that refuses it. Files that need no model are permanent:
every later release must refuse them too, and this program does not change them. Files that need a
model are written again for the default model. Files that fuzzing finds are added by hand.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import zstandard

import codec
from codec.model.quantization import SYMBOL_LIMIT
from tests.support import layout, stored
from tests.support.layout import ALPHA, DEEP, RESIDUAL, RGB, Entry, Fields, Metadata
from tests.support.make_goldens import GOLDEN
from tests.support.pictures import noise, textured
from tests.support.recoded import code_residual, code_tile, replace, tile_residuals, tile_symbols
from tests.support.tiles import encode

INVALID = GOLDEN / "invalid"

PLAIN = stored.write(noise(8, 8).repeat(8, 0).repeat(8, 1))
FULL = stored.write(
    noise(6, 7).astype(np.uint16) << 4, alpha=noise(6, 7)[..., 0].astype(np.uint16), depth=12,
    metadata={1: bytes(90), 3: b"<x:xmpmeta/>"}, alpha_filter=1,
)
PIXELS = bytes(3 * 64 * 64)
WORDS = bytes(range(1, 13))

LATENTS = layout.build(Fields(RGB, 9, 9, [layout.entry(WORDS, b"")], model=b"nosuch"), [WORDS])
"""A file with latents of an unknown model."""

OF_RESIDUAL = layout.build(
    Fields(ALPHA + DEEP + RESIDUAL, 9, 9, [layout.entry(WORDS, b"")] * 3, depth=9, model=b"nosuch", step=2),
    [WORDS] * 3,
)
"""A file of samples of nine bits with a residual, of an unknown model."""


def header(data: bytes, **fields: Any) -> bytes:
    """Return the file with some header fields replaced."""
    parsed, payloads = layout.parse(data)
    return layout.build(dataclasses.replace(parsed, **fields), payloads)


def part(data: bytes, name: str, value: bytes) -> bytes:
    """Return the file with the bytes of one header field replaced."""
    fields, payloads = layout.parse(data)
    return layout.seal(b"".join((layout.build_parts(fields) | {name: value}).values()), payloads)


def metadata(*entries: Callable[[Metadata, Metadata], Metadata]) -> bytes:
    """Return FULL with metadata entries that `entries` make from its two entries."""
    fields, payloads = layout.parse(FULL)
    made = [entry(*fields.metadata) for entry in entries]
    return layout.build(dataclasses.replace(fields, metadata=made), payloads)


def payload(data: bytes, index: int, value: bytes, content: bytes | None = None) -> bytes:
    """Return the file with one payload and its CRC replaced.

    The CRC of the content is replaced too if `content` is given.
    """
    fields, payloads = layout.parse(data)
    entry = fields.index[index]
    crc = entry.content_crc if content is None else zlib.crc32(content)
    fields.index[index] = Entry(len(value), zlib.crc32(value), crc)
    payloads[len(fields.metadata) + index] = value
    return layout.build(fields, payloads)


def frames() -> Iterator[tuple[str, bytes]]:
    """Names and contents of invalid payloads of a stored tile."""
    good = zstandard.compress(PIXELS)
    yield "frame-of-another-size", zstandard.compress(PIXELS + b"\0")
    yield "frame-without-size", zstandard.ZstdCompressor(write_content_size=False).compress(PIXELS)
    yield "frame-twice", good + good
    yield "frame-cut", good[:-1]
    yield "frame-with-dictionary", good[:4] + bytes([good[4] | 1, 1]) + good[5:]
    blocks = [(1 << 17 << 3 | 2 | (number == 999)).to_bytes(3, "little") + b"\0" for number in range(1000)]
    yield "frame-bomb", good[:4] + b"\xa0" + len(PIXELS).to_bytes(4, "little") + b"".join(blocks)
    yield "frame-none", b"not zstd"
    yield "no-payload", b""
    yield "more-than-the-pixels", PIXELS + b"\0"


def of_files() -> dict[str, bytes]:
    """Files with an invalid layout, size, version, mode or payload of a stored tile."""
    index = layout.build_parts(layout.parse(PLAIN)[0])["index"]
    limit = Fields(2, 18 * 4096, 4096, [layout.entry(b"", b"")] * 18, side=64)
    made = {
        "FormatError-nothing": b"",
        "FormatError-another-signature": b"\x89PNG" + PLAIN[4:],
        "FormatError-text-transfer": PLAIN.replace(b"\r\n", b"\n", 1),
        "FormatError-bytes-follow": PLAIN + b"\0",
        "FormatError-two-files": PLAIN + PLAIN,
        "FormatError-width-0": header(PLAIN, width=0),
        "FormatError-height-0": header(PLAIN, height=0),
        "FormatError-level-1025": header(LATENTS, level=1025),
        "FormatError-side-0": header(PLAIN, side=0),
        "FormatError-side-65": header(PLAIN, side=65),
        "FormatError-long-varint": part(PLAIN, "width", b"\xc0\0"),
        "FormatError-six-byte-varint": part(PLAIN, "width", b"\x80\x80\x80\x80\x80\1"),
        "FormatError-header-goes-on": part(PLAIN, "index", index + b"\0"),
        "FormatError-header-ends-in-a-field": part(PLAIN, "index", bytes(8)),
        "FormatError-more-tiles-than-entries": header(PLAIN, width=65, side=1),
        "Truncated-after-the-signature": PLAIN[:8],
        "Truncated-in-the-signature": PLAIN[:3],
        "Truncated-in-the-length": PLAIN[:9] + b"\x80",
        "Truncated-in-the-header": PLAIN[:20],
        "Truncated-in-the-payload": PLAIN[:-1],
        "ChecksumMismatch-header": PLAIN[:11] + bytes([PLAIN[11] ^ 1]) + PLAIN[12:],
        "ChecksumMismatch-payload": PLAIN[:-1] + bytes([PLAIN[-1] ^ 1]),
        "ChecksumMismatch-pixels": payload(PLAIN, 0, zstandard.compress(PIXELS), b"other"),
        "UnsupportedVersion-0": header(PLAIN, version=0),
        "UnsupportedVersion-1": header(PLAIN, version=1),
        "UnsupportedVersion-3": header(PLAIN, version=3),
        "UnsupportedVersion-mode-67": header(PLAIN, mode=64 + 3, step=1),
        "UnsupportedVersion-mode-128": header(PLAIN, mode=128 + 3),
        "UnknownModel": LATENTS,
        "LimitExceeded-width": header(PLAIN, width=(1 << 20) + 1),
        "LimitExceeded-height": header(PLAIN, height=(1 << 35) - 1),
        "LimitExceeded-tiles": header(PLAIN, width=1 << 14, height=(1 << 14) + 1, side=1),
        "LimitExceeded-header": header(PLAIN, length=(1 << 21) + 1),
        "LimitExceeded-pixels": layout.build(limit),
    }
    grown = noise(64, 64).tobytes()
    longer = payload(PLAIN, 0, zstandard.compress(grown), grown)
    made["FormatError-frame-longer-than-the-pixels"] = longer
    return made | {f"FormatError-{name}": payload(PLAIN, 0, value) for name, value in frames()}


def of_features() -> dict[str, bytes]:
    """Files with an invalid alpha, depth, source, residual step or kind of metadata."""
    change = dataclasses.replace
    _, payloads = layout.parse(FULL)
    over = np.full((6, 7), 1 << 12, np.uint16)
    planes = stored._planes(over.repeat(3, 1))
    alpha = stored._planes(over)
    return {
        "UnsupportedVersion-source-0": header(FULL, mode=63 - 16 - 2, source=0),
        "UnsupportedVersion-source-5": header(FULL, mode=2 + 32, source=5),
        "UnsupportedVersion-filter-3": payload(FULL, 1, b"\3" + payloads[3][1:]),
        "UnsupportedVersion-kind-0": metadata(lambda icc, xmp: change(icc, kind=0), lambda icc, xmp: xmp),
        "FormatError-depth-8": header(FULL, depth=8),
        "FormatError-depth-17": header(FULL, depth=17),
        "FormatError-sample-over-depth": payload(FULL, 0, zstandard.compress(planes), planes),
        "FormatError-alpha-over-depth": payload(FULL, 1, b"\0" + zstandard.compress(alpha), alpha),
        "FormatError-alpha-without-filter": payload(FULL, 1, b""),
        "FormatError-alpha-without-samples": payload(FULL, 1, b"\0"),
        "FormatError-more-than-the-alpha": payload(FULL, 1, b"\0" + alpha + b"\0", alpha),
        "FormatError-alpha-without-entries": header(FULL, index=layout.parse(FULL)[0].index[:1]),
        "FormatError-no-metadata": metadata(),
        "FormatError-metadata-four-times": header(FULL, count=4),
        "FormatError-metadata-twice": metadata(lambda icc, xmp: icc, lambda icc, xmp: change(xmp, kind=1)),
        "FormatError-metadata-in-another-order": metadata(
            lambda icc, xmp: change(icc, kind=3), lambda icc, xmp: change(xmp, kind=1)
        ),
        "FormatError-metadata-of-0-bytes": metadata(
            lambda icc, xmp: icc, lambda icc, xmp: change(xmp, size=0)
        ),
        "FormatError-more-than-the-metadata": metadata(
            lambda icc, xmp: icc, lambda icc, xmp: change(xmp, size=xmp.size - 1)
        ),
        "FormatError-metadata-of-another-size": metadata(
            lambda icc, xmp: change(icc, size=91), lambda icc, xmp: xmp
        ),
        "ChecksumMismatch-metadata": metadata(
            lambda icc, xmp: change(icc, payload_crc=1), lambda icc, xmp: xmp
        ),
        "ChecksumMismatch-alpha": payload(FULL, 1, payloads[3], b"other"),
        "LimitExceeded-metadata": metadata(
            lambda icc, xmp: change(icc, size=(1 << 24) + 1), lambda icc, xmp: xmp
        ),
        "Truncated-in-the-alpha": FULL[:-1],
        "FormatError-step-0": header(OF_RESIDUAL, step=0),
        "FormatError-step-over-the-samples": header(OF_RESIDUAL, step=512),
        "FormatError-residual-without-entries": header(
            OF_RESIDUAL, index=layout.parse(OF_RESIDUAL)[0].index[:2]
        ),
    }


def of_cicp() -> dict[str, bytes]:
    """Files with invalid CICP."""
    change = dataclasses.replace
    fields, payloads = layout.parse(stored.write(noise(3, 3), metadata={4: bytes([9, 16, 0, 1])}))
    entry = fields.metadata[0]

    def cicp(content: bytes, **changes: int) -> bytes:
        made = change(entry, length=len(content), payload_crc=zlib.crc32(content), **changes)
        return layout.build(change(fields, metadata=[made]), [content, *payloads[1:]])

    return {
        "UnsupportedVersion-cicp-of-3-bytes": cicp(b"\x09\x10\0", size=3),
        "UnsupportedVersion-cicp-of-5-bytes": cicp(b"\x09\x10\0\1\0", size=5),
        "UnsupportedVersion-kind-5": cicp(payloads[0], kind=5),
        "FormatError-cicp-twice": layout.build(
            change(fields, metadata=[entry, entry]), [payloads[0], *payloads]
        ),
        "FormatError-cicp-in-no-frame": cicp(b"\x09\x10\0"),
        "FormatError-metadata-five-times": layout.build(change(fields, count=5), payloads),
        "FormatError-metadata-after-the-last-kind": layout.build(change(fields, count=2), payloads),
        "ChecksumMismatch-cicp": layout.build(
            change(fields, metadata=[change(entry, payload_crc=1)]), payloads
        ),
    }


def of_the_model() -> dict[str, bytes]:
    """Files with invalid payloads of latents or of a residual, made with the default model."""
    worker = codec.Codec()
    model, level = worker._loaded, 700
    deep = textured(9, 17)[:, :, 0].astype(np.uint16) << 1
    with mock.patch("codec.engine.encoding._store", return_value=None):  # latents, with any model
        latents = encode(worker, textured(24, 40), level)
        residual = worker.compress(np.dstack([deep, deep]), quality=91, bit_depth=9)
    tile = tile_symbols(worker, latents)[0]
    hyper, symbols = tile.hyper.astype(np.int32), tile.latents.astype(np.int32)
    differences = tile_residuals(worker, residual)[0]
    scales = np.full((2, 3, 1), 20, np.int32)
    over, under = np.full_like(hyper, SYMBOL_LIMIT + 1), symbols.copy()
    under.ravel()[np.flatnonzero(symbols)[:9]] = -SYMBOL_LIMIT - 1

    def tile_of(z: stored.Samples, y: stored.Samples, surplus: int = 0) -> bytes:
        return replace(latents, 0, *code_tile(model, level, z, y, surplus=surplus))

    def residual_of(s: stored.Samples, r: stored.Samples) -> bytes:
        return replace(residual, 1, *code_residual(model.tables, s, r))

    far = np.full_like(hyper, 10_000)
    made = {
        "Truncated-latents": latents[:-4],
        "Truncated-in-the-residual": residual[: -layout.parse(residual)[0].index[2].length - 4],
        "FormatError-hyper-latents-over-the-limit": tile_of(over, symbols),
        "FormatError-symbols-over-the-limit": tile_of(hyper, under),
        "FormatError-escape-in-a-longer-form": tile_of(far, symbols, 3),
        "FormatError-escape-without-end": tile_of(far, symbols, 4),
        "FormatError-residual-over-the-limit": residual_of(
            scales, np.full_like(differences, SYMBOL_LIMIT + 1)
        ),
        "FormatError-scale-64": residual_of(scales + 44, differences),
        "FormatError-scale-below-0": residual_of(scales - 21, differences),
    }
    for data, index, name, of in ((latents, 0, "", "symbols"), (residual, 1, "-of-a-residual", "residual")):
        words = layout.parse(data)[1][index]
        made |= {
            f"FormatError-part-of-a-word{name}": payload(data, index, words + b"\0"),
            f"FormatError-words-follow{name}": payload(data, index, words + bytes(range(1, 101))),
            f"FormatError-impossible-code{name}": payload(data, index, b"\xff" * len(words)),
            f"ChecksumMismatch-{of}": payload(data, index, words, b"other"),
        }
    return made


def write_all() -> None:
    """Write the files that are missing, and those that need a model."""
    INVALID.mkdir(exist_ok=True)
    for name, data in (of_files() | of_features() | of_cicp()).items():
        path = INVALID / f"{name}.cae"
        if not path.exists():
            path.write_bytes(data)
    for name, data in of_the_model().items():
        (INVALID / f"{name}.cae").write_bytes(data)


if __name__ == "__main__":
    write_all()
