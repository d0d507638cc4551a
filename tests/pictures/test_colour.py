"""Colour of picture files: code points, ICC profiles made of measured colours, and which counts."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

import codec
from codec.pictures import colour
from tests.support import tagged


def linear_srgb(light: Any) -> Any:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def assert_profile(profile: bytes, white: Any, primaries: Sequence[Any], curve: Any) -> None:
    """Check that littleCMS turns random colours into those of a formula, within one level."""

    def xyz(point: Any) -> Any:
        x, y = point
        return np.array([x / y, 1, (1 - x - y) / y])

    def matrix(white: Any, primaries: Any) -> Any:
        columns = np.stack([xyz(point) for point in primaries], -1)
        return columns * np.linalg.solve(columns, xyz(white))

    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    cones = [bradford @ xyz(point) for point in (white, tagged.SRGB[0])]
    adapted = np.linalg.inv(bradford) @ np.diag(cones[1] / cones[0]) @ bradford
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    light = curve(pixels / 255) @ (adapted @ matrix(white, primaries)).T
    expected = linear_srgb(light @ np.linalg.inv(matrix(*[tagged.SRGB[0], tagged.SRGB[1:]])).T) * 255
    found = transformed(profile, Image.fromarray(pixels))
    assert np.abs(found - expected).max() < 1


def transformed(profile: bytes, image: Image.Image) -> Any:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.createProfile("sRGB")
    made = ImageCms.buildTransform(source, target, image.mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    result = ImageCms.applyTransform(image, made)
    assert result is not None
    return np.asarray(result).astype(float)


@pytest.mark.parametrize(
    ("white", "primaries", "curves", "light"),
    [
        (tagged.SRGB[0], tagged.SRGB[1:], [1.0], lambda v: v),
        (tagged.SRGB[0], tagged.ADOBE[1:], [2.2], lambda v: v**2.2),
        ((0.3457, 0.3585), [(0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)], [1.8], lambda v: v**1.8),
        (tagged.SRGB[0], tagged.SRGB[1:], [1.8, 2.2, 2.6], lambda v: v ** np.array([1.8, 2.2, 2.6])),
        (tagged.SRGB[0], tagged.SRGB[1:], [(np.linspace(0, 1, 1024) ** 2 * 65535).astype(np.uint16)],
         lambda v: v**2),
    ],
)
def test_profiles_of_measured_colour(white: Any, primaries: Any, curves: Any, light: Any) -> None:
    assert_profile(colour.profile(white, primaries, curves), white, primaries, light)


def test_profiles_of_gray_and_of_code_points() -> None:
    gray = Image.fromarray(np.arange(16, 256, dtype=np.uint8)[None])
    found = transformed(colour.profile((0.31, 0.316), [], [1.8], gray=True), gray)
    expected = linear_srgb((np.arange(16, 256) / 255) ** 1.8) * 255
    assert np.abs(found[0] - expected[:, None]).max() < 1.5  # gray of any white is gray
    p3 = [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)]
    inverse = {13: lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4), 8: lambda v: v}
    for transfer, light in inverse.items():
        profile = colour.profile_of(bytes([12, transfer, 0, 1]), gray=False)
        assert profile is not None
        assert_profile(profile, tagged.SRGB[0], p3, light)
    for points in ([9, 16, 0, 1], [2, 13, 0, 1], [12, 13, 9, 1], [12, 13, 0, 0], [9, 18, 0, 1]):
        assert colour.profile_of(bytes(points), gray=False) is None


@pytest.mark.parametrize(
    ("white", "primaries", "curve"),
    [
        ((0.3, 0.3), [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)], 2.2),
        ((0.3, 0.3), [(0.7, 0.7), (0.3, 0.6), (0.15, 0.06)], 2.2),
        ((1.2, 0.3), tagged.SRGB[1:], 2.2),
        ((0.3, 0.0), tagged.SRGB[1:], 2.2),
        ((0.3, 1e-9), tagged.SRGB[1:], 2.2),
        (tagged.SRGB[0], tagged.SRGB[1:], 1e-4),
        (tagged.SRGB[0], tagged.SRGB[1:], 1e4),
    ],
)
def test_colours_that_are_none(white: Any, primaries: Any, curve: float) -> None:
    with pytest.raises(ValueError, match=r"chromaticity|line|range|gamma"):
        colour.profile(white, primaries, [curve])


GAMMA = (b"gAMA", struct.pack(">I", 45455))
ICCP = (b"iCCP", b"name\0\0" + zlib.compress(tagged.ICC))


@pytest.mark.parametrize(
    ("chunks", "kept", "says"),
    [
        ([GAMMA], {"cicp": tagged.SRGB_POINTS}, ""),
        ([GAMMA, tagged.chrm(tagged.SRGB)], {"cicp": tagged.SRGB_POINTS}, ""),
        ([tagged.chrm(tagged.SRGB)], {"cicp": tagged.SRGB_POINTS}, ""),
        ([(b"sRGB", b"\0"), GAMMA, tagged.chrm(tagged.ADOBE)], {"cicp": tagged.SRGB_POINTS}, ""),
        ([(b"sRGB", b"\1")], {"cicp": tagged.SRGB_POINTS}, "rendering intent relative colorimetric"),
        ([ICCP, (b"sRGB", b"\0"), GAMMA], {"icc": tagged.ICC}, ""),
        ([(b"cICP", tagged.PQ_POINTS), ICCP, GAMMA], {"icc": tagged.ICC, "cicp": tagged.PQ_POINTS}, ""),
        ([(b"cICP", bytes([9, 16, 9, 1]))], {}, "cICP"),
        ([(b"cICP", b"\1\2\3")], {}, "cICP"),
        ([(b"iCCP", b"name\0\0" + zlib.compress(tagged.ICC)[:-9])], {}, "ICC profile that cannot be read"),
        ([GAMMA, tagged.chrm([(0, 0)] * 4)], {}, "colour"),
        ([GAMMA, tagged.chrm([tagged.SRGB[0]] * 4)], {}, "colour"),
        ([(b"gAMA", bytes(4))], {}, "colour"),
        ([tagged.raw_profile("icc", tagged.ICC)], {"icc": tagged.ICC}, ""),
    ],
)
def test_which_colour_counts(chunks: Any, kept: dict[str, bytes], says: str) -> None:
    metadata, lost = tagged.read(tagged.png(*chunks))
    assert metadata == codec.Metadata(**kept)
    assert "".join(lost).startswith(says)
    assert bool(lost) == bool(says)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1"])
def test_linear_pictures_get_a_profile_of_their_kind(mode: str) -> None:
    chunks = [(b"gAMA", struct.pack(">I", 100_000))]
    metadata, lost = tagged.read(tagged.png(*chunks, image=tagged.picture(mode)))
    assert lost == ()
    assert metadata.icc is not None
    assert metadata.icc[16:20] == (b"GRAY" if mode in ("L", "LA", "1") else b"RGB ")
    assert metadata.cicp is None


@pytest.mark.parametrize("points", [(1, 1), (9, 16), (9, 18), (12, 13), (1, 8)])
def test_code_points_of_avif_go_through(tmp_path: Path, points: tuple[int, int]) -> None:
    (tmp_path / "in.avif").write_bytes(tagged.nclx(tagged.avif(), *points))
    codec.encode(tmp_path / "in.avif", tmp_path / "x.cae")
    data = (tmp_path / "x.cae").read_bytes()
    assert codec.read_metadata(data).cicp == bytes([*points, 0, 1])
    for name in ("out.avif", "out.png"):
        codec.decode(tmp_path / "x.cae", tmp_path / name)
        assert tagged.read((tmp_path / name).read_bytes())[0].cicp == bytes([*points, 0, 1])
    assert tagged.read(tagged.nclx(tagged.avif(), 2, 2))[0] == codec.Metadata()


@pytest.mark.parametrize("linear", [False, True])
def test_the_colour_of_qoi_files(linear: bool) -> None:
    data = bytearray(tagged.saved("QOI"))
    data[13] = linear
    metadata, lost = tagged.read(bytes(data))
    assert (bool(metadata.icc), lost) == (linear, ())
