"""Small files that demand many pixels, much memory or the decompression of huge zstd frames."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

import codec
from codec.engine import decoding
from tests.support import layout, stored
from tests.support.hostile import attempt
from tests.support.pictures import textured
from tests.support.tiles import encode

TILE = 128
SIZE = 3 * TILE * TILE

SINGLE = 0x20
"""Flag of the descriptor of a frame: the content is one segment, without a separate window."""


def frame(
    size: int, blocks: int, last: int = 0, *, window: int | None = None, dictionary: bool = False
) -> bytes:
    """Return a zstd frame that declares a content of `size` bytes.

    It has `blocks` blocks of 128 KiB of one repeated byte, and a last block of `last` bytes.
    """
    descriptor = 0x80 | (SINGLE if window is None else 0) | dictionary
    front = b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + (b"" if window is None else bytes([window]))
    front += (b"\x01" if dictionary else b"") + size.to_bytes(4, "little")
    runs = [1 << 17] * blocks + [last]
    for number, length in enumerate(runs):
        front += (length << 3 | 2 | (number == blocks)).to_bytes(3, "little") + b"\x07"
    return front


def forged(payload: bytes, content: bytes = bytes(SIZE)) -> bytes:
    """Return a stored file of one tile with this payload."""
    fields = layout.Fields(layout.RGB | layout.STORED, TILE, TILE, [layout.entry(payload, content)])
    return layout.build(fields, [payload])


def test_frames_made_by_hand_are_frames() -> None:
    """Control: frames of `frame` are valid, so the test below fails for no other reason."""
    content = b"\x07" * SIZE
    for payload in (frame(SIZE, 0, SIZE), frame(SIZE, 0, SIZE, window=0x50)):
        assert zstandard.ZstdDecompressor().decompress(payload) == content
        assert (codec.decompress(forged(payload, content)) == 7).all()
    huge = zstandard.get_frame_parameters(frame(1 << 30, 1 << 13))
    assert huge.content_size == 1 << 30


good = zstandard.compress(bytes(SIZE))
FRAMES = {
    "states less than it has": frame(SIZE, 0, SIZE + 1),
    "states more than it has": frame(SIZE, 0, SIZE - 1),
    "has another size": zstandard.compress(bytes(SIZE + 1)),
    "1 GiB, and says so": frame(1 << 30, (1 << 13) - 1, 1 << 17),
    "1 GiB, and says less": frame(SIZE, (1 << 13) - 1, 1 << 17),
    "states 4 GiB": frame((1 << 32) - 1, 0, SIZE),
    "states nothing": zstandard.ZstdCompressor(write_content_size=False).compress(bytes(SIZE)),
    "a window of 2 TiB": frame(SIZE, 0, SIZE, window=0xFF),
    "a dictionary": frame(SIZE, 0, SIZE, dictionary=True),
    "a second frame": good + zstandard.compress(b""),
    "junk behind it": good + b"junk",
    "a skippable frame behind it": good + b"\x50\x2a\x4d\x18\x04\0\0\0junk",
    "a skippable frame before it": b"\x50\x2a\x4d\x18\x04\0\0\0junk" + good,
    "cut": good[:-1],
    "a reserved bit": good[:4] + bytes([good[4] | 8]) + good[5:],
    "a wrong checksum": zstandard.ZstdCompressor(write_checksum=True).compress(bytes(SIZE))[:-4] + bytes(4),
    "of an older zstd": b"\x27" + good[1:],
    "no frame": b"not zstd",
    "nothing": b"",
    "longer than the pixels": bytes(SIZE + 1),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_in_stored_tiles(name: str) -> None:
    payload = FRAMES[name]
    assert len(payload) < SIZE or name == "longer than the pixels"  # else it is read as the pixels
    data = forged(payload)
    codec.verify(data)
    assert attempt(lambda: stored_read(data))[0] == "FormatError"
    tracemalloc.start()
    try:
        assert attempt(lambda: codec.decompress(data))[0] == "FormatError"
        picture, lost = codec.decompress(data, on_error="conceal")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert lost.all()
    assert not picture.any()


def stored_read(data: bytes) -> None:
    """Decode with the second reader, and raise its error as an error of the package."""
    try:
        stored.read(data)
    except layout.Refused as refused:
        raise getattr(codec, refused.error) from None


@pytest.mark.parametrize("suffix", [".png", ".ppm"])
def test_lack_of_memory_has_a_name_where_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def fail(*args: object) -> None:
        raise MemoryError

    (tmp_path / "a.cae").write_bytes(forged(good))
    monkeypatch.setattr(decoding, "decode_bands", fail)
    with pytest.raises(codec.LimitExceeded, match="memory"):
        codec.decode(tmp_path / "a.cae", tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.cae"]


def largest(mode: int) -> bytes:
    """Return the largest picture in 200 bytes: 18 tiles of side 4,096, or 302 million pixels."""
    entry = layout.entry(b"", b"")
    data = layout.build(layout.Fields(mode, 18 * 4096, 4096, [entry] * 18, side=64, model=bytes(6)))
    assert len(data) <= 200
    return data


@pytest.mark.parametrize("mode", range(4))
@pytest.mark.parametrize("options", [{}, {"on_error": "conceal"}])
def test_the_largest_picture_in_200_bytes(
    tiny: codec.Codec, mode: int, options: dict[str, str]
) -> None:
    data = largest(mode)
    assert codec.inspect(data).width == 18 * 4096
    tracemalloc.start()
    try:
        with pytest.raises(codec.LimitExceeded, match="limit of 268435456"):
            tiny.decompress(data, **options)  # type: ignore[call-overload]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def test_time_grows_with_pixels_and_no_faster(tiny: codec.Codec) -> None:
    """Test the worst small files: highly compressed frames, and latents without payload words."""
    limits = codec.Limits(max_pixels=1 << 40)

    def flat(side: int) -> bytes:
        return stored.write(np.zeros((side, side, 3), np.uint8), side=side // 64)

    fields, payloads = layout.parse(encode(tiny, textured(40, 40), 300))

    def wordless(side: int) -> bytes:
        lost = dataclasses.replace(fields, width=side, height=side, side=side // 64)
        return layout.build(lost, payloads)

    for make, options, side, allowed in (
        (flat, {}, 1024, 1e-6), (wordless, {"on_error": "conceal"}, 256, 1e-4)
    ):
        tiny.decompress(make(64), limits=limits, **options)  # type: ignore[call-overload]
        for pixels in (side, 4 * side):
            data = make(pixels)
            assert len(data) < 2000
            seconds = cpu_seconds(lambda d=data, o=options: tiny.decompress(d, limits=limits, **o))  # type: ignore[misc]
            assert seconds < allowed * pixels**2 + 0.2, (make.__name__, pixels, seconds)


POOR = """
import resource, sys
import numpy as np
import codec
worker = codec.Codec(model=sys.argv[1])
data = open(sys.argv[2], "rb").read()
codec.decompress(codec.compress(np.zeros((9, 9), np.uint8)))
worker.decompress(worker.compress(np.zeros((9, 9), np.uint8)))
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (1 << 28),) * 2)
for function in (
    lambda: worker.decompress(data),
    lambda: worker.decompress(data, region=(1, 0, (1 << 14) - 1, 1 << 14)),
    lambda: worker.decompress(data, on_error="conceal"),
    lambda: worker.decompress_batch([data]),
):
    try:
        function()
        print("decoded")
    except codec.LimitExceeded as error:
        print(error)
"""


@pytest.mark.parametrize("mode", [layout.RGB | layout.STORED, layout.RGB])
def test_a_process_with_little_memory_says_so_by_name(
    tiny: codec.Codec, tiny_weights: Path, tmp_path: Path, mode: int
) -> None:
    """A picture within the limits needs more memory than the process may use."""
    if mode & layout.STORED:
        payload, crc = zstandard.compress(bytes(3 << 24)), zlib.crc32(bytes(3 << 24))
        fields = layout.Fields(mode, 0, 0, [])
    else:
        fields, payloads = layout.parse(encode(tiny, textured(40, 40), 300))
        payload, crc = payloads[0], fields.index[0].content_crc
    index = [layout.Entry(len(payload), zlib.crc32(payload), crc)] * 16
    fields = dataclasses.replace(fields, width=1 << 14, height=1 << 14, side=64, index=index)
    path = tmp_path / "large.cae"
    path.write_bytes(layout.build(fields, [payload] * 16))
    done = subprocess.run(
        [sys.executable, "-c", POOR, str(tiny_weights), str(path)], cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    says = "the picture needs more memory than is available"
    if not mode & layout.STORED:
        says = "tiles of 4096×4096 pixels are over the limit of 1048576"  # before any allocation
    assert set(lines) == {says}
