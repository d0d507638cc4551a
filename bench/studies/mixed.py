"""Round trips of a mixed folder: each file is encoded and decoded, or refused with a reason.

    python -m bench.studies.mixed OUT            make a mixed folder in OUT/in and use it
    python -m bench.studies.mixed OUT --of DIR   use your own folder

Prints one row per file. The exit code is 1 if a file is neither restored correctly nor refused.
"""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw
from rich.console import Console
from rich.table import Table

import codec
from codec.engine import rate_control
from codec.pictures.reading import read_image
from codec.training.data import list_images, read_rgb

SAMPLES = Path(__file__).parent.parent / "samples"


@dataclasses.dataclass
class Outcome:
    """Result for one file."""

    name: str
    kind: str
    """Description of the file from `inspect`. Empty if the file was refused."""
    result: str
    failed: bool = False


def photograph_of_samples() -> NDArray[np.uint8]:
    """Photograph from which the pictures are made, 240×320×3."""
    return read_rgb(list_images(SAMPLES)[0])[:240, :320]


def deepened(rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The same picture with 16 bits, all of them in use."""
    noise = np.random.default_rng(0).integers(0, 257, rgb.shape)
    deep: NDArray[np.uint16] = np.clip(rgb.astype(np.uint16) * 257 + noise, 0, 65535).astype(np.uint16)
    return deep


def make_folder(folder: Path) -> None:
    """Write pictures of many kinds and files that are not pictures.

    They are made from the sample photographs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rgb = photograph_of_samples()
    photograph = Image.fromarray(rgb)
    for name, write in (_pictures(photograph, rgb) | _strange(photograph, rgb)).items():
        write(folder / name)


def _pictures(photograph: Image.Image, rgb: NDArray[np.uint8]) -> dict[str, Callable[[Path], object]]:
    screen = Image.new("RGBA", (320, 240), (255, 255, 255, 255))
    drawing = ImageDraw.Draw(screen)
    for line in range(12):
        text = "The quick brown fox jumps over the lazy dog 0123456789"
        drawing.text((8, 8 + 18 * line), text, (20, 20, 60, 255))
    logo = Image.new("RGBA", (128, 128), (200, 30, 30, 0))
    ImageDraw.Draw(logo).ellipse((8, 8, 120, 120), (30, 90, 200, 255))
    logo = logo.resize((96, 96), Image.Resampling.LANCZOS)
    deep = deepened(rgb)
    medical = deep[:, :, 1] >> 4
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "screenshot.png": screen.save,
        "logo with soft edges.png": logo.save,
        "scan, 1 bit.tiff": lambda p: screen.convert("L").convert("1").save(p, compression="group4"),
        "scan, gray.jpg": photograph.convert("L").save,
        "medical, 12 bits.png": lambda p: Image.fromarray(medical).save(p),
        "medical, 12 bits.pgm": lambda p: p.write_bytes(
            b"P5 320 240 4095\n" + medical.astype(">u2").tobytes()
        ),
        "satellite, 16 bits.tiff": lambda p: p.write_bytes(imagecodecs.tiff_encode(deep)),
        "16 bits with alpha.png": lambda p: p.write_bytes(
            imagecodecs.png_encode(np.dstack([deep, deep[:, :, :1]]))
        ),
        "array.npy": lambda p: np.save(p, deep),
        "palette.gif": photograph.quantize(64).save,
        "palette with transparency.png": lambda p: photograph.quantize(64).save(p, transparency=5),
        "one transparent colour.png": lambda p: photograph.save(p, transparency=tuple(map(int, rgb[0, 0]))),
        "gray with alpha.png": photograph.convert("LA").save,
        "web with alpha.webp": logo.save,
        "new.avif": photograph.save,
        "old.bmp": photograph.save,
        "old.tga": logo.save,
        "wavelets.jp2": photograph.save,
        "telephone, turned.jpg": lambda p: photograph.save(p, exif=exif, icc_profile=icc),
        "one pixel.png": Image.new("RGB", (1, 1), (9, 8, 7)).save,
        "3 wide, 20000 high.png": photograph.resize((3, 20_000)).save,
        "20000 wide, 3 high.png": photograph.resize((20_000, 3)).save,
        "name with\nnewline ü.png": photograph.save,
    }


def _strange(photograph: Image.Image, rgb: NDArray[np.uint8]) -> dict[str, Callable[[Path], object]]:
    frames = [photograph, photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return {
        "animation.gif": lambda p: frames[0].save(p, save_all=True, append_images=frames[1:]),
        "two pages.tiff": lambda p: frames[0].save(p, save_all=True, append_images=frames[1:]),
        "print, CMYK.jpg": photograph.convert("CMYK").save,
        "print, Lab.tiff": lambda p: Image.new("LAB", (40, 30)).save(p),
        "heights, float.tiff": lambda p: Image.fromarray(rgb[:, :, 0].astype(np.float32)).save(p),
        "counts, 32 bits.tiff": lambda p: Image.fromarray(rgb[:, :, 0].astype(np.int32)).save(p),
        "float.npy": lambda p: np.save(p, rgb / 255),
        "five bands.npy": lambda p: np.save(p, np.zeros((30, 40, 5), np.uint16)),
        "cut short.jpg": lambda p: _cut(photograph, p),
        "text.png": lambda p: p.write_text("not a picture"),
        "empty.png": lambda p: p.write_bytes(b""),
        "drawing.svg": lambda p: p.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "folder.png": lambda p: p.mkdir(exist_ok=True),
    }


def _cut(photograph: Image.Image, path: Path) -> None:
    photograph.save(path)
    path.write_bytes(path.read_bytes()[:3000])


def check(path: Path, out: Path) -> Outcome:
    """Compress a file, decompress it into a picture file, and compare the two."""
    packed = out / f"{path.name}.cae"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", codec.NotKept)
        try:
            codec.encode(path, packed)
        except (codec.CodecError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            return Outcome(path.name, "", f"refused: {reason}", packed.exists())
        notes = "".join(f"; {warning.message}" for warning in caught)
        original, _ = read_image(path)
    info = codec.inspect(packed.read_bytes())
    unpacked = out / f"{path.name}.png"
    codec.decode(packed, unpacked)
    result, _ = read_image(unpacked, bit_depth=None if info.bit_depth == 8 else info.bit_depth)
    alike = result.samples.shape == original.samples.shape
    if alike and original.has_alpha:
        alike = np.array_equal(result.alpha(result.box), original.alpha(original.box))
    psnr = rate_control.psnr(original, [result.read(result.box)]) if alike else 0.0
    kind = f"{info.width}×{info.height}×{info.channels}, {info.bit_depth} bits"
    kind += f", from {info.source}" if info.source else ""
    kind += "".join(f", {name}" for name in info.metadata)
    how = "exact" if info.lossless else f"{psnr:.2f} dB"
    text = f"{info.bits_per_pixel:.3f} bpp, {how}{notes}"
    good = alike and psnr > 20
    return Outcome(path.name, kind, text if good else f"differs: {text}", not good)


def check_folder(folder: Path, out: Path) -> list[Outcome]:
    """Outcome for every file. Any exception is an outcome too."""
    out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for path in sorted(folder.iterdir()):
        try:
            outcomes.append(check(path, out))
        except Exception as error:  # this program is meant to find such errors
            outcomes.append(Outcome(path.name, "", f"{type(error).__name__}: {error}", True))
    return outcomes


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--of", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(out: Path, folder: Path | None) -> None:
    """Compress and decompress every file of a folder."""
    if folder is None:
        folder = out / "in"
        make_folder(folder)
    outcomes = check_folder(folder, out / "out")
    table = Table(title="A mixed folder")
    for column in ("file", "picture", "result"):
        table.add_column(column, overflow="fold")
    for outcome in outcomes:
        style = "bold red" if outcome.failed else None
        table.add_row(repr(outcome.name)[1:-1], outcome.kind, outcome.result, style=style)
    Console().print(table)
    failed = sum(outcome.failed for outcome in outcomes)
    refused = sum(not outcome.kind for outcome in outcomes)
    Console().print(
        f"{len(outcomes)} files: {len(outcomes) - refused} round trips, {refused} refused, {failed} failed"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
