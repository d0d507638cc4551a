"""Invalid headers with correct CRCs raise a specific error before memory is allocated."""

from __future__ import annotations

import dataclasses
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import codec
from tests.support import layout, stored
from tests.support.hostile import attempt
from tests.support.layout import Entry
from tests.support.pictures import noise, textured
from tests.support.tiles import encode

MAX_BYTES = 16 << 20
"""Maximum peak allocation of a refusal. Memory of torch is not counted."""

EXTREMES = [0, 1, 2, 127, 128, 255, 256, (1 << 16) - 1, 1 << 16, (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
            (1 << 24) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 35) - 1]
SMALL = range(256)
"""All values of a byte."""


@pytest.fixture(scope="module")
def files(tiny: codec.Codec) -> dict[str, bytes]:
    """Files with latents, stored pixels, all features of stored files, and a residual."""
    full = stored.examples()["RGB-12-alpha2"]
    fields, payloads = layout.parse(full)
    fields.mode, fields.source = fields.mode | layout.CONVERTED, 2
    return {
        "latents": encode(tiny, textured(40, 40), 300),
        "stored": encode(tiny, noise(70, 90).repeat(2, 0), 1024),
        "full": layout.build(fields, payloads),
        "residual": tiny.compress(textured(40, 30).astype(np.uint16) << 4, quality=93),
    }


def numbers() -> list[tuple[str, str, int]]:
    """Cases of file, field and value."""
    varints = ["width", "height", "side", "level", "length", "index length"]
    made = [(which, name, value) for which in ("latents", "stored", "full") for name in varints
            for value in EXTREMES if which == "latents" or name != "level"]
    newer = ["count", "metadata length", "metadata size"]
    made += [("full", name, value) for name in newer for value in EXTREMES]
    made += [("full", name, value) for name in ("depth", "source", "metadata kind") for value in SMALL]
    made += [("residual", name, value) for name in ("step", "width", "level", "side") for value in EXTREMES]
    made += [(which, "mode", value) for which in ("stored", "residual") for value in SMALL]
    made += [("latents", "version", value) for value in SMALL]
    return made


def lying(data: bytes, name: str, value: int) -> bytes:
    """Return the file with one header field replaced. For lists, the first entry is changed."""
    fields, payloads = layout.parse(data)
    where, _, inner = name.rpartition(" ")
    if where:
        setattr(getattr(fields, where)[0], inner, value)
    else:
        setattr(fields, name, value)
    return layout.build(fields, payloads)


def peak(function: Callable[[], Any]) -> int:
    """Return the peak number of bytes that `function` allocates."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def ways(tiny: codec.Codec, data: bytes) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and call of every function that reads a file."""
    yield "inspect", lambda: codec.inspect(data)
    yield "verify", lambda: codec.verify(data)
    yield "metadata", lambda: codec.read_metadata(data)
    yield "decompress", lambda: tiny.decompress(data)
    yield "region", lambda: tiny.decompress(data, region=(0, 0, 1, 1))
    few = codec.Limits(max_pixels=1 << 18)
    yield "conceal", lambda: tiny.decompress(data, on_error="conceal", limits=few)
    yield "batch", lambda: tiny.decompress_batch([data])


@pytest.mark.parametrize(("which", "name"), sorted({case[:2] for case in numbers()}))
def test_every_number_in_a_header(tiny: codec.Codec, files: dict[str, bytes], which: str, name: str) -> None:
    refused = 0
    for value in (value for *case, value in numbers() if case == [which, name]):
        data = lying(files[which], name, value)
        expected = ""
        try:
            layout.parse(data)
        except layout.Refused as error:
            expected = error.error
        for way, function in ways(tiny, data):
            found: list[str] = []
            used = peak(lambda f=function, into=found: into.append(attempt(f)[0]))  # type: ignore[misc]
            assert used < MAX_BYTES, (way, value, data.hex())
            if way in ("verify", "decompress", "batch") and expected:
                assert found == [expected], (way, value, data.hex())
                refused += 1
    assert refused


def layouts(tiny: codec.Codec) -> dict[str, tuple[bytes, str]]:
    """Files whose payloads do not match the index, each with the name of the error."""
    data = encode(tiny, noise(8, 8).repeat(16, 0).repeat(16, 1), 1024)
    fields, payloads = layout.parse(data)
    assert len(payloads) == 4
    header = layout.parse_header(data)[1]

    def indexed(entries: list[Entry], contents: list[bytes]) -> bytes:
        return layout.build(dataclasses.replace(fields, index=entries), contents)

    def moved(by: int) -> bytes:
        """Move the border between the first two payloads and correct the CRCs."""
        lengths = [fields.index[0].length + by, fields.index[1].length - by]
        entries = [
            dataclasses.replace(entry, length=length)
            for entry, length in zip(fields.index, lengths + fields.lengths[2:], strict=True)
        ]
        return layout.reseal(indexed(entries, payloads))

    one, two, *rest = fields.index
    return {
        "a byte follows": (data + b"\0", "FormatError"),
        "two files": (data + data, "FormatError"),
        "a gap after the header": (data[:header] + b"\0" + data[header:], "FormatError"),
        "a gap between tiles": (
            indexed(fields.index, [payloads[0], b"\0", *payloads[1:]]), "FormatError"
        ),
        "a byte is missing": (data[:-1], "Truncated"),
        "tiles exchanged": (indexed(fields.index, payloads[1::-1] + payloads[2:]), "ChecksumMismatch"),
        "entries exchanged": (indexed([two, one, *rest], payloads), "ChecksumMismatch"),
        "one payload for two tiles": (indexed([one, one, *rest], [payloads[0], *payloads[2:]]), "Truncated"),
        "tiles overlap": (moved(1), "FormatError"),
        "a tile begins late": (moved(-1), "FormatError"),
        "an entry too many": (indexed([*fields.index, Entry(0, 0, 0)], payloads), "FormatError"),
        "an entry too few": (indexed(fields.index[:-1], payloads[:-1]), "FormatError"),
        "an empty payload": (
            indexed([Entry(0, 0, one.content_crc), two, *rest], payloads[1:]), "FormatError"
        ),
        "a payload that another tile decodes to": (
            indexed([dataclasses.replace(two, content_crc=one.content_crc), two, *rest],
                    [payloads[1], *payloads[1:]]),
            "ChecksumMismatch",
        ),
    }


def test_tiles_elsewhere(tiny: codec.Codec) -> None:
    for name, (data, error) in layouts(tiny).items():
        for way, function in ways(tiny, data):
            if way in ("decompress", "batch"):
                assert attempt(function)[0] == error, (name, way)


def long_form(number: bytes) -> bytes:
    """Return the same varint with one more byte."""
    return number[:-1] + bytes([number[-1] | 128, 0])


def test_numbers_have_one_form(tiny: codec.Codec, files: dict[str, bytes]) -> None:
    fields, payloads = layout.parse(files["latents"])
    parts = layout.build_parts(fields)
    length = layout.varint(fields.index[0].length)
    longer = [parts | {name: long_form(parts[name])} for name in ("width", "height", "level", "side")]
    longer.append(parts | {"index": long_form(length) + parts["index"][len(length) :]})
    bodies = [b"".join(changed.values()) for changed in longer]
    cases = [layout.seal(body, payloads) for body in bodies]
    front = files["latents"][:9] + long_form(files["latents"][9:10]) + b"".join(parts.values())
    cases.append(front + zlib.crc32(front).to_bytes(4, "little") + payloads[0])
    assert len({len(case) for case in cases}) == 1
    for case in cases:
        for way, function in ways(tiny, case):
            assert attempt(function)[0] == "FormatError", (way, case.hex())


def test_payloads_have_no_surplus_words(tiny: codec.Codec, files: dict[str, bytes]) -> None:
    fields, payloads = layout.parse(files["latents"])
    for surplus in (b"\1\2\3\4" * 2, bytes(range(1, 101)), b"\1", b"\0\0"):
        payload = payloads[0] + surplus
        entry = dataclasses.replace(fields.index[0], length=len(payload), payload_crc=zlib.crc32(payload))
        data = layout.build(dataclasses.replace(fields, index=[entry]), [payload])
        assert attempt(lambda data=data: tiny.decompress(data))[0] == "FormatError"  # type: ignore[misc]


@pytest.mark.parametrize("size", [0, 4])
def test_metadata_without_a_payload(size: int) -> None:
    fields, payloads = layout.parse(stored.write(noise(3, 3), metadata={3: b"<x/>"}))
    fields.metadata = [dataclasses.replace(fields.metadata[0], length=0, size=size, payload_crc=0)]
    with pytest.raises(codec.FormatError, match="payload of 0 bytes"):
        codec.inspect(layout.build(fields, payloads[1:]))


def unknown(name: str, value: int | bytes) -> bytes:
    """Return a file with a value that no version of the format has."""
    fields, payloads = layout.parse(stored.write(noise(3, 3), metadata={3: b"<x/>"}, source=1))
    match name:
        case "kind":
            assert isinstance(value, int)
            fields.metadata[0].kind = value
        case "model":
            fields = layout.Fields(layout.RGB, 9, 9, [layout.entry(b"", b"")], model=bytes(6))
            payloads = []
    if name != "kind":
        setattr(fields, name, value)
    return layout.build(fields, payloads)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("version", 0, codec.UnsupportedVersion, "version 0"),
        ("version", 1, codec.UnsupportedVersion, "version 1 .* codec 0.10 is the last"),
        ("version", 3, codec.UnsupportedVersion, "version 3 .* codec reads 2"),
        ("version", 255, codec.UnsupportedVersion, "version 255"),
        ("mode", 66, codec.UnsupportedVersion, "mode 66"),
        ("mode", 128, codec.UnsupportedVersion, "mode 128"),
        ("mode", 129, codec.UnsupportedVersion, "mode 129"),
        ("mode", 255, codec.UnsupportedVersion, "mode 255"),
        ("source", 0, codec.UnsupportedVersion, None),
        ("source", 5, codec.UnsupportedVersion, None),
        ("kind", 0, codec.UnsupportedVersion, None),
        ("kind", 5, codec.UnsupportedVersion, None),
        ("model", b"nosuch", codec.UnknownModel, "6e6f73756368"),
    ],
)
def test_what_no_version_knows(
    tiny: codec.Codec, name: str, value: int | bytes, error: type[codec.CodecError], message: str | None
) -> None:
    data = unknown(name, value)
    with pytest.raises(error, match=message) as caught:
        tiny.decompress(data)
    assert type(caught.value) is error
    if name != "model":  # an unknown model does not make the header invalid
        with pytest.raises(error, match=message):
            codec.inspect(data)
