"""Generators of damaged files: every prefix, every flipped bit, and endless random changes."""

from __future__ import annotations

import dataclasses
import itertools
import random
import zlib
from collections.abc import Callable, Iterator, Mapping

from tests.support import layout

Files = Mapping[str, bytes]

_BYTES = (0, 1, 2, 5, 16, 63, 64, 127, 128, 255)
_NUMBERS = (
    0, 1, 2, 63, 64, 65, 1024, 1025, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1, (1 << 35) - 1,
)


def prefixes(files: Files, rng: random.Random) -> Iterator[bytes]:
    """Every prefix of every file, except the empty one: it is not a truncated file but no file."""
    for data in files.values():
        yield from (data[:length] for length in range(1, len(data)))


def some_prefixes(files: Files, rng: random.Random) -> Iterator[bytes]:
    """Random prefixes."""
    names = list(files.values())
    while True:
        data = rng.choice(names)
        yield data[: rng.randrange(1, len(data))]


def flips(files: Files, rng: random.Random) -> Iterator[bytes]:
    """Every file with each of its bits flipped in turn."""
    for data in files.values():
        for bit in range(8 * len(data)):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            yield bytes(changed)


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Flip, set, insert, delete or repeat some bytes, or replace the end with that of `other`."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Half of the changes are in the header: it is short, but most errors are possible there.
        at = rng.randrange(max(len(changed), 1) if rng.random() < 0.5 else min(max(len(changed), 1), 50))
        some = rng.randrange(1, 9)
        what = rng.randrange(6)
        if what == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 1 and changed:
            changed[at] = rng.choice(_BYTES)
        elif what == 2:
            changed[at:at] = rng.randbytes(some)
        elif what == 3:
            del changed[at : at + some]
        elif what == 4:
            changed[at:at] = changed[at : at + 8 * some]
        else:
            changed[at:] = other[rng.randrange(len(other)) :]
    return bytes(changed)


def mutants(files: Files, rng: random.Random) -> Iterator[bytes]:
    """Random changes without repaired CRCs."""
    pool = list(files.values())
    while True:
        yield mutate(rng.choice(pool), rng.choice(pool), rng)


def _lie(fields: layout.Fields, rng: random.Random) -> bytes:
    """Return the header body with one of its fields replaced."""
    parts = layout.build_parts(fields)
    name = rng.choice([name for name in parts if name != "index"])
    if name in ("mode", "depth", "source"):
        parts[name] = bytes([rng.randrange(256)])
    elif name == "model":
        parts[name] = rng.randbytes(6)
    else:
        parts[name] = layout.varint(rng.choice((rng.randrange(200), rng.choice(_NUMBERS))))
    return b"".join(parts.values())


def forge(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change header fields, header bytes, a payload or any bytes, and repair the CRCs."""
    fields, payloads = layout.parse(data)
    what = rng.choice((0, 1, 2, 3, 3))
    if what == 0:
        return layout.reseal(mutate(data, other, rng))
    if what == 1:
        return layout.reseal(layout.seal(_lie(fields, rng), payloads))
    if what == 2:
        body = b"".join(layout.build_parts(fields).values())
        return layout.reseal(layout.seal(mutate(body, other, rng), payloads))
    index = rng.randrange(len(payloads))
    payload = mutate(payloads[index], rng.choice((other, rng.randbytes(400), bytes(400))), rng)
    payloads[index] = payload
    # A new entry, since other callers may hold the parsed one.
    changed = dataclasses.replace(fields.entries[index], length=len(payload), payload_crc=zlib.crc32(payload))
    if isinstance(changed, layout.Metadata):
        fields.metadata[index] = changed
    else:
        fields.index[index - len(fields.metadata)] = changed
    return layout.build(fields, payloads)


def forged(files: Files, rng: random.Random) -> Iterator[bytes]:
    """Random changes with repaired CRCs of header and payloads."""
    pool = list(files.values())
    while True:
        yield forge(rng.choice(pool), rng.choice(pool), rng)


def junk(files: Files, rng: random.Random) -> Iterator[bytes]:
    """Random bytes, alone or after the first bytes of a file."""
    for front in itertools.cycle((b"", layout.SIGNATURE, layout.SIGNATURE + bytes([layout.VERSION]))):
        yield front + rng.randbytes(rng.choice((rng.randrange(64), rng.randrange(4097))))


CASES: dict[str, Callable[[Files, random.Random], Iterator[bytes]]] = {
    "prefixes": prefixes, "large": some_prefixes, "flips": flips, "mutants": mutants, "sealed": forged,
    "unchecked": forged, "junk": junk,
}
