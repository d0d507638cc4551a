"""Containers of several pictures: previews are refused, and further pictures are named."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from codec.errors import InvalidImage
from codec.pictures.containers import jpeg
from codec.pictures.containers.found import read_at


def check_pillow_reads_the_picture(file: BinaryIO, head: bytes) -> None:
    """Raise `InvalidImage` for a file of which Pillow returns something else than its picture.

    `head` is the start of the file, which is not open in Pillow yet.
    """
    if head.startswith(b"8BPS\0\1") and len(head) >= 26:
        _check_psd(file, head)
    elif head.startswith(b"\x01\xda") and head[3:4] == b"\2":
        raise InvalidImage("16-bit SGI files are not supported: convert it to .png, .tiff, .ppm or .npy")
    elif head.startswith(b"DDS ") and len(head) >= 132:
        _check_dds(head)


def further(image: Any, file: BinaryIO, kind: str) -> list[str]:
    """Return names of the pictures of the file that are not read. `image` is open.

    TIFF and JPEG 2000 files and HEIC are left out here.
    """
    if kind == "PSD":
        return _layers(file, image)
    if kind == "DDS":
        return _of_dds(file)
    if kind in ("ICO", "CUR", "ICNS"):
        sizes = image.info.get("sizes", ())
        count = len(sizes) if kind == "ICNS" else struct.unpack("<H", read_at(file, 4, 2))[0]
        names = [f"{name} (other sizes)" for name in more(count)]
        return names + ["hotspot"] * (kind == "CUR")
    if kind in ("JPEG", "MPO"):  # cameras add smaller copies, and gain maps are named elsewhere
        others = [one for one in jpeg.further_pictures(file) if not one.is_copy and not one.is_gain_map]
        return more(1 + len(others))
    return more(getattr(image, "n_frames", 1))


def more(count: int) -> list[str]:
    """Return the name of all pictures after the first, in a list."""
    return [f"{count - 1} more {'picture' if count == 2 else 'pictures'} of {count}"] if count > 1 else []


def _check_psd(file: BinaryIO, head: bytes) -> None:
    bits, mode = struct.unpack_from(">2H", head, 22)
    if bits > 8:
        raise InvalidImage(f"PSD files of {bits} bits are not supported: save it as a TIFF")
    if mode in (4, 7, 8, 9):
        name = {4: "CMYK", 7: "multichannel", 8: "duotone", 9: "Lab"}[mode]
        raise InvalidImage(f"PSD files in {name} mode are not supported: convert it to RGB")
    file.seek(26)
    file.seek(26 + 4 + int.from_bytes(file.read(4), "big"))
    resources = file.read(min(int.from_bytes(file.read(4), "big"), 1 << 24))
    at = resources.find(b"8BIM\x04\x21")  # 1057, the version; its name is empty
    if at >= 0 and resources[at + 16 : at + 17] == b"\0":
        raise InvalidImage(
            "the PSD file was saved without a merged picture (without maximum compatibility): save it with "
            "one, or as PNG or TIFF"
        )


def _layers(file: BinaryIO, image: Any) -> list[str]:
    channels = int.from_bytes(read_at(file, 12, 2), "big")
    names = []
    try:
        count = image.n_frames
    except Exception:  # Pillow raises any exception for damaged layers; the merged picture is whole
        count = 1
    if count:
        names.append(f"{count} layer{'s' * (count > 1)}")
    extra = channels - len(image.getbands())
    return names + ([f"{extra} further channel{'s' * (extra > 1)}"] if extra > 0 else [])


def _check_dds(head: bytes) -> None:
    flags, code, bits, *masks = struct.unpack_from("<I4sI4I", head, 80)
    dxgi = struct.unpack_from("<I", head, 128)[0] if code == b"DX10" else 0
    if flags & 4 and dxgi in (95, 96):
        raise InvalidImage("DDS files with floats (BC6H) are not supported: scale them to 16 bits")
    if flags & 4 and (dxgi == 84 or code == b"BC5S"):
        raise InvalidImage("DDS files with signed samples (BC5S) are not supported: add an offset")
    if flags & 0x40 and any(mask.bit_count() > 8 for mask in masks):
        raise InvalidImage(f"DDS files of more than 8 bits per channel ({bits} per pixel) are not supported")


def _of_dds(file: BinaryIO) -> list[str]:
    head = read_at(file, 0, 148)
    depth, levels = struct.unpack_from("<2I", head, 24)
    (caps,) = struct.unpack_from("<I", head, 112)
    names = ["the other faces of a cube map"] if caps & 0x200 else []
    if caps & 0x200000 and depth > 1:
        names += more(depth)
    if head[84:88] == b"DX10":
        _, flags, size = struct.unpack_from("<3I", head, 132)
        names += ["the other faces of a cube map"] * bool(flags & 4 and not names) + more(size)
    return names + ([f"{levels - 1} smaller copies (mipmaps)"] if levels > 1 else [])
