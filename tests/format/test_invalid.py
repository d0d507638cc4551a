"""Every release refuses the invalid files, each with the error in its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import codec
from tests.support import layout, stored
from tests.support.make_invalid import INVALID

HEADER = [
    "FormatError-another-signature", "FormatError-header-ends-in-a-field", "FormatError-header-goes-on",
    "FormatError-height-0", "FormatError-level-1025", "FormatError-long-varint",
    "FormatError-more-tiles-than-entries", "FormatError-nothing", "FormatError-side-0", "FormatError-side-65",
    "FormatError-six-byte-varint", "FormatError-text-transfer", "FormatError-width-0",
    "Truncated-after-the-signature", "Truncated-in-the-header", "Truncated-in-the-length",
    "Truncated-in-the-signature", "ChecksumMismatch-header", "UnsupportedVersion-0", "UnsupportedVersion-1",
    "UnsupportedVersion-3", "UnsupportedVersion-mode-128", "LimitExceeded-header",
    "LimitExceeded-height", "LimitExceeded-tiles", "LimitExceeded-width",
    "UnsupportedVersion-kind-0", "UnsupportedVersion-source-0",
    "UnsupportedVersion-source-5", "FormatError-alpha-without-entries", "FormatError-depth-17",
    "FormatError-depth-8", "FormatError-metadata-four-times", "FormatError-metadata-in-another-order",
    "FormatError-metadata-of-0-bytes", "FormatError-metadata-twice", "FormatError-no-metadata",
    "FormatError-more-than-the-metadata", "LimitExceeded-metadata",
    "UnsupportedVersion-mode-67", "FormatError-step-0", "FormatError-step-over-the-samples",
    "FormatError-residual-without-entries",
    "UnsupportedVersion-cicp-of-3-bytes", "UnsupportedVersion-cicp-of-5-bytes", "UnsupportedVersion-kind-5",
    "FormatError-cicp-twice", "FormatError-metadata-five-times", "FormatError-metadata-after-the-last-kind",
]
"""Files that `inspect` also refuses."""

PAYLOAD = [
    "FormatError-bytes-follow", "FormatError-two-files", "Truncated-in-the-payload", "Truncated-latents",
    "ChecksumMismatch-payload", "ChecksumMismatch-metadata", "ChecksumMismatch-cicp",
    "Truncated-in-the-alpha", "Truncated-in-the-residual",
]
"""Files that `verify` also refuses."""

OF_THE_MODEL = [
    "FormatError-escape-in-a-longer-form", "FormatError-escape-without-end",
    "FormatError-hyper-latents-over-the-limit", "FormatError-impossible-code",
    "FormatError-impossible-code-of-a-residual", "FormatError-part-of-a-word",
    "FormatError-part-of-a-word-of-a-residual", "FormatError-residual-over-the-limit",
    "FormatError-scale-64", "FormatError-scale-below-0", "FormatError-symbols-over-the-limit",
    "FormatError-words-follow", "FormatError-words-follow-of-a-residual", "ChecksumMismatch-residual",
    "ChecksumMismatch-symbols",
]
"""Files with symbols that only a decoder of latents and residuals finds wrong."""

CONTENT = [
    "FormatError-frame-bomb", "FormatError-frame-cut", "FormatError-frame-none",
    "FormatError-frame-longer-than-the-pixels", "FormatError-frame-of-another-size",
    "FormatError-frame-twice", "FormatError-frame-with-dictionary",
    "FormatError-frame-without-size", "FormatError-more-than-the-pixels", "FormatError-no-payload",
    "ChecksumMismatch-pixels", "LimitExceeded-pixels", "UnknownModel",
    "UnsupportedVersion-filter-3", "FormatError-alpha-over-depth", "FormatError-alpha-without-filter",
    "FormatError-alpha-without-samples", "FormatError-more-than-the-alpha", "FormatError-sample-over-depth",
    "ChecksumMismatch-alpha", *OF_THE_MODEL,
]
"""Files whose error is found only by decoding."""

METADATA = ["FormatError-metadata-of-another-size", "FormatError-cicp-in-no-frame"]
"""Files whose error is found only by reading the metadata."""

ALL = HEADER + PAYLOAD + CONTENT + METADATA


def test_none_is_missing() -> None:
    assert sorted(path.name for path in INVALID.iterdir()) == sorted(f"{name}.cae" for name in ALL)
    assert {name.partition("-")[0] for name in ALL} == {
        "FormatError", "Truncated", "ChecksumMismatch", "UnsupportedVersion", "UnknownModel", "LimitExceeded",
    }
    assert sum(path.stat().st_size for path in INVALID.iterdir()) < 64 << 10


def read(name: str) -> bytes:
    return (INVALID / f"{name}.cae").read_bytes()


def refused(name: str, function: Callable[[bytes], object]) -> None:
    """Check that `function` refuses the file with exactly the error in its name."""
    with pytest.raises(codec.CodecError) as caught:
        function(read(name))
    assert type(caught.value).__name__ == name.partition("-")[0]


@pytest.mark.parametrize("name", HEADER + PAYLOAD + CONTENT)
def test_decoding(name: str) -> None:
    refused(name, codec.decompress)
    # A small region of a large picture is within the limits, and metadata is not read for a region.
    if name not in ("LimitExceeded-pixels", "ChecksumMismatch-metadata", "ChecksumMismatch-cicp"):
        refused(name, lambda data: codec.decompress(data, region=(0, 0, 1, 1)))


@pytest.mark.filterwarnings("ignore::codec.NotKept")
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_decoding_to_a_file(name: str, suffix: str, tmp_path: Path) -> None:
    """No partial picture remains."""
    target = tmp_path / f"picture{suffix}"
    refused(name, lambda _: codec.decode(INVALID / f"{name}.cae", target))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", HEADER + PAYLOAD)
def test_verifying(name: str) -> None:
    refused(name, codec.verify)


@pytest.mark.parametrize("name", HEADER)
def test_inspecting(name: str) -> None:
    refused(name, codec.inspect)


@pytest.mark.parametrize("name", [*HEADER, *METADATA, "ChecksumMismatch-metadata", "ChecksumMismatch-cicp"])
def test_reading_metadata(name: str) -> None:
    refused(name, codec.read_metadata)


@pytest.mark.parametrize("name", PAYLOAD + CONTENT + METADATA)
def test_others_have_a_header(name: str) -> None:
    assert codec.inspect(read(name)).width > 0
    if name in CONTENT + METADATA:
        codec.verify(read(name))
    if name in METADATA:
        codec.decompress(read(name))


NEED_MORE = ["LimitExceeded-pixels", "UnknownModel", *OF_THE_MODEL]
"""Files that the second reader accepts, since it decodes no latents and has no models or limits."""


@pytest.mark.parametrize("name", [name for name in ALL if name not in NEED_MORE])
def test_the_other_reader(name: str) -> None:
    """The second reader, written from FORMAT.md, refuses the files with the same error."""
    with pytest.raises(layout.Refused) as caught:
        stored.read(read(name))
    assert caught.value.error == name.partition("-")[0]


BEYOND_TILES = ["FormatError-bytes-follow", "FormatError-two-files", "LimitExceeded-pixels", "UnknownModel"]


@pytest.mark.parametrize("name", HEADER + PAYLOAD + CONTENT)
def test_concealing(name: str) -> None:
    """Concealment hides errors of tiles and of metadata, and no other errors."""
    if name in HEADER + BEYOND_TILES:
        refused(name, lambda data: codec.decompress(data, on_error="conceal"))
    else:
        picture, lost = codec.decompress(read(name), on_error="conceal")
        assert lost.all() == (name not in ("ChecksumMismatch-metadata", "ChecksumMismatch-cicp"))
        assert picture.shape == layout.parse_header(read(name))[0].shape
