"""Pictures to compress: conversion and checks of arrays, tensors and PIL images."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.errors import InvalidImage
from codec.format.header import Source
from codec.format.tiling import Box
from codec.limits import DEFAULT, Limits

Samples = NDArray[np.unsignedinteger[Any]]
"""H×W×C uint8 or uint16."""

KINDS = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGB with alpha"}
"""Names of pictures by the number of samples per pixel."""

_SHAPES = "H×W or H×W×1 (gray), H×W×2 (gray and alpha), H×W×3 (RGB), H×W×4 (RGB and alpha)"

_PILLOW_MODES = {
    **{mode: (mode, Source.NONE) for mode in ("L", "LA", "RGB", "RGBA")},
    "1": ("L", Source.ONE_BIT),
    "P": ("RGB", Source.PALETTE),
    "PA": ("RGBA", Source.TRANSPARENT_PALETTE),
}

_REASONS = {
    **dict.fromkeys(("CMYK", "LAB"), "convert it to RGB with its colour profile (PIL.ImageCms)"),
    **dict.fromkeys(("YCbCr", "HSV", "RGBX"), "convert it to RGB"),
    "F": "floating-point samples have no fixed range: scale them to an array of uint16",
    "I": "32-bit samples are too large: scale them to 16 bits, or if they fit as they are, give "
    "np.asarray(image).astype(np.uint16)",
    "La": "convert it to LA: its colour is multiplied by its alpha",
    "RGBa": "convert it to RGBA: its colour is multiplied by its alpha",
}


class Lazy(Protocol):
    """Samples H×W×C, uint8 or uint16, that are read on access: an ndarray or a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, slices: tuple[slice, slice], /) -> NDArray[Any]: ...


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture to compress. A part of it is copied only when it is needed."""

    samples: Lazy
    """H×W×C; C is 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""
    depth: int
    """Bits per sample: 8 (uint8), or 9…16 (uint16)."""
    source: Source = Source.NONE

    @property
    def height(self) -> int:
        return self.samples.shape[0]

    @property
    def width(self) -> int:
        return self.samples.shape[1]

    @property
    def channels(self) -> int:
        """Channels of the colour: 1 or 3."""
        return 3 if self.samples.shape[2] >= 3 else 1

    @property
    def has_alpha(self) -> bool:
        return self.samples.shape[2] in (2, 4)

    @property
    def full(self) -> int:
        """The largest sample value."""
        return (1 << self.depth) - 1

    @property
    def box(self) -> Box:
        """The box of all pixels."""
        return Box(0, 0, self.height, self.width)

    def read(self, box: Box) -> Samples:
        """Return the samples in `box`, including alpha."""
        dtype = np.uint8 if self.depth == 8 else np.uint16
        part: Samples = np.ascontiguousarray(self.samples[box.slices]).astype(dtype, copy=False)
        if 8 < self.depth < 16 and int(part.max()) > self.full:
            raise InvalidImage(f"the picture changed while it was read: a sample is over {self.full}")
        return part

    def colour(self, box: Box) -> Samples:
        """Return the colour in `box`."""
        return np.ascontiguousarray(self.read(box)[:, :, : self.channels])

    def alpha(self, box: Box) -> Samples:
        """Return the alpha in `box`, H×W; the picture must have alpha."""
        return np.ascontiguousarray(self.read(box)[:, :, self.channels])


def to_picture(image: Any, limits: Limits = DEFAULT, bit_depth: int | None = None) -> Picture:
    """Convert an ndarray, a PIL image or a torch tensor; `codec.compress` describes their forms.

    `bit_depth` is the depth of 16-bit samples. None selects the smallest of 10, 12, 14 and 16 bits
    that holds all samples.

    Raises `InvalidImage`, which names the problem, or `LimitExceeded`. The input is never modified.
    """
    if isinstance(image, Picture):
        limits.check(image.height, image.width)
        return image
    kind = type(image)
    source = Source.NONE
    if isinstance(image, np.ndarray):
        array = _from_array(image, limits)
    elif any(base.__module__.split(".")[0] == "torch" for base in kind.__mro__):
        array = _from_tensor(image, limits)
    elif any(base.__module__ == "PIL.Image" for base in kind.__mro__):
        array, source = from_pillow(image, limits)
    else:
        raise InvalidImage(
            f"a picture must be an ndarray, a PIL image or a torch tensor, not {kind.__name__}"
        )
    return to_picture_of_depth(array, bit_depth, source)


def to_picture_of_depth(samples: Lazy, bit_depth: int | None, source: Source = Source.NONE) -> Picture:
    """Return the picture of samples H×W×C. Only their depth is checked; raises as `to_picture`."""
    return Picture(samples, _depth(samples, bit_depth), source)


def from_samples(samples: Samples) -> Samples:
    """Return samples in the shape that callers get: H×W for gray, otherwise H×W×C."""
    return samples[:, :, 0] if samples.shape[2] == 1 else samples


def _check_size(height: int, width: int, limits: Limits) -> None:
    if not height or not width:
        raise InvalidImage(f"the picture is empty: {height}×{width}")
    limits.check(height, width)


def _depth(array: Lazy, bit_depth: int | None) -> int:
    if isinstance(bit_depth, bool) or not isinstance(bit_depth, (int, np.integer, type(None))):
        raise TypeError(f"bit_depth must be an integer, not {type(bit_depth).__name__}")
    bit_depth = None if bit_depth is None else int(bit_depth)
    if array.dtype.itemsize == 1:
        if bit_depth not in (None, 8):
            raise ValueError(f"bit_depth of 8-bit samples must be 8, not {bit_depth}")
        return 8
    if bit_depth is not None and not 9 <= bit_depth <= 16:
        raise ValueError(f"bit_depth of 16-bit samples must be from 9 to 16, not {bit_depth}")
    if bit_depth == 16:
        return 16
    rows = max(1, (1 << 22) // array.shape[1])
    tops = range(0, array.shape[0], rows)
    columns = slice(0, array.shape[1])
    used = max(int(array[slice(top, top + rows), columns].max()) for top in tops).bit_length()
    if bit_depth is not None and used > bit_depth:
        raise InvalidImage(f"samples of {used} bits do not fit a bit_depth of {bit_depth}")
    return bit_depth or max(10, used + used % 2)


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raise `InvalidImage` for an array of other samples than uint8 and uint16."""
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return
    bits = 8 * dtype.itemsize
    reasons = {
        "i": "add an offset and convert it to uint8" if bits == 8 else (
            "add an offset and convert it to uint16; samples in 0…255 are array.astype(np.uint8)"
        ),
        "u": "scale it to uint16",
        "f": "its values have no fixed range; scale them to uint8 or uint16",
        "b": "convert it with array.astype(np.uint8) * 255",
        "c": "store its magnitude as uint16",
    }
    reason = reasons.get(dtype.kind)
    raise InvalidImage(f"an array must be uint8 or uint16, not {dtype}" + (f": {reason}" if reason else ""))


def check_shape(shape: tuple[int, ...], bands_can_be_chosen: bool = False) -> tuple[int, int, int]:
    """Return height, width and number of bands. Raises `InvalidImage` for other shapes."""
    if len(shape) == 2:
        shape = (*shape, 1)
    text = "×".join(map(str, shape)) or "no dimensions"
    if len(shape) == 3 and shape[2] > 4:
        if shape[0] in (1, 3, 4):
            raise InvalidImage(f"an array must be H×W×C, not C×H×W ({text}): use np.moveaxis(array, 0, -1)")
        if not bands_can_be_chosen:
            raise InvalidImage(
                f"an array of {text} has {shape[2]} bands: choose those to keep, for example array[:, :, :3]"
            )
    elif len(shape) != 3 or not shape[2]:
        raise InvalidImage(f"an array must be {_SHAPES}, not {text}")
    return shape


def _from_array(array: NDArray[Any], limits: Limits) -> NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidImage("a masked array has pixels without a value: fill them first")
    array = np.asarray(array)
    check_dtype(array.dtype)
    height, width, bands = check_shape(array.shape)
    _check_size(height, width, limits)
    return array.reshape(height, width, bands) if array.ndim == 2 else array


def _from_tensor(tensor: Any, limits: Limits) -> NDArray[Any]:
    refused = {
        "nested": (tensor.is_nested, "False", "give its parts one by one"),
        "sparse": (tensor.layout, "torch.strided", "convert it with to_dense()"),
        "meta": (tensor.is_meta, "False", "it has no values"),
        "quantized": (getattr(tensor, "is_quantized", False), "False", "convert it with dequantize()"),
        "complex": (tensor.is_complex(), "False", "give its magnitude"),
    }
    for name, (value, wanted, way_out) in refused.items():
        if str(value) != wanted:
            raise InvalidImage(f"{name} tensors are not supported: {way_out}")
    if tensor.dim() != 3 or not 1 <= tensor.shape[0] <= 4:
        shape = "×".join(map(str, tensor.shape)) or "no dimensions"
        raise InvalidImage(f"a tensor must be C×H×W with 1 to 4 channels, not {shape}")
    _check_size(tensor.shape[1], tensor.shape[2], limits)
    try:
        return _array_of(tensor.detach().cpu().permute(1, 2, 0))
    except (TypeError, NotImplementedError, RuntimeError) as error:  # kinds of tensors that are no arrays
        raise InvalidImage(f"the tensor cannot be read: {error}") from None


def _array_of(tensor: Any) -> NDArray[Any]:
    if tensor.dtype.is_floating_point:
        tensor = tensor.double()
        # NaN fails both comparisons.
        if not bool(((tensor >= 0) & (tensor <= 1)).all()):
            raise InvalidImage("a float tensor must hold values in [0,1]")
        array: NDArray[Any] = (tensor * 255).round().numpy().astype(np.uint8)
    elif str(tensor.dtype) in ("torch.uint8", "torch.uint16"):
        array = tensor.numpy()
    else:
        raise InvalidImage(f"a tensor must be uint8, uint16 or float, not {tensor.dtype}")
    return array


def from_pillow(image: Any, limits: Limits) -> tuple[NDArray[Any], Source]:
    """Return the samples H×W×C of a PIL image and how they were stored; raises as `to_picture`."""
    _check_size(image.height, image.width, limits)
    key = image.info.get("transparency")
    deep = image.mode.startswith("I;16")
    if image.mode not in _PILLOW_MODES and not deep:
        reason = _REASONS.get(image.mode, "convert it to one of L, LA, RGB, RGBA")
        raise InvalidImage(f"PIL images of mode {image.mode} are not supported: {reason}")
    try:
        if deep:
            array, source = np.asarray(image), Source.NONE
            if key is not None:
                opaque = np.where(array == key, 0, 0xFFFF).astype(np.uint16)
                array, source = np.stack([array, opaque], -1), Source.TRANSPARENT_COLOUR
        else:
            mode, source = _PILLOW_MODES[image.mode]
            palette_alpha = image.mode == "P" and image.palette and image.palette.mode == "RGBA"
            if key is not None or palette_alpha:
                mode = "LA" if mode in ("L", "LA") else "RGBA"
                source = Source.TRANSPARENT_PALETTE if image.mode == "P" else Source.TRANSPARENT_COLOUR
            array = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reads an image on first use
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    return (array[:, :, None] if array.ndim == 2 else array), source
