"""Pictures in and out: what the codec takes, as arrays or files, and why it refuses the rest."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import CodecError, InvalidImage, LimitExceeded
from codec.limits import DEFAULT

Pixels = NDArray[np.uint8]
"""H×W×C uint8, C-contiguous; C is 1 (gray) or 3 (RGB)."""

_PILLOW_MODES = {"L": "L", "RGB": "RGB", "1": "L", "P": "RGB"}


def to_pixels(image: Any) -> Pixels:
    """Pixels of an ndarray (H×W or H×W×3 uint8), a PIL image or a torch tensor.

    Tensors are C×H×W with one or three channels, uint8 or float in [0,1]. PIL images of mode L and
    RGB are taken as they are, 1 and P (without transparency) are converted to L and RGB.

    Raises `InvalidImage` that names what is wrong, or `LimitExceeded`. The input is never modified.
    """
    kind = type(image)
    if isinstance(image, np.ndarray):
        pixels = _from_array(image)
    elif any(base.__module__.split(".")[0] == "torch" for base in kind.__mro__):
        pixels = _from_tensor(image)
    elif any(base.__module__ == "PIL.Image" for base in kind.__mro__):
        pixels = _from_pillow(image)
    else:
        raise InvalidImage(
            f"a picture must be an ndarray, a PIL image or a torch tensor, not {kind.__name__}"
        )
    return np.ascontiguousarray(pixels)


def from_pixels(pixels: Pixels) -> Pixels:
    """What the caller gets back: H×W for gray, H×W×3 for RGB."""
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def _check_shape(height: int, width: int) -> None:
    if not height or not width:
        raise InvalidImage(f"the picture is empty: {height}×{width}")
    DEFAULT.check(height, width)


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise InvalidImage(f"an array must be uint8, not {array.dtype}")
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.ndim != 3 or array.shape[2] != 3:
        shape = "×".join(map(str, array.shape)) or "no dimensions"
        raise InvalidImage(f"an array must be H×W or H×W×3, not {shape}")
    _check_shape(array.shape[0], array.shape[1])
    return array


def _from_tensor(tensor: Any) -> NDArray[np.uint8]:
    if tensor.dim() != 3 or tensor.shape[0] not in (1, 3):
        shape = "×".join(map(str, tensor.shape)) or "no dimensions"
        raise InvalidImage(f"a tensor must be C×H×W with 1 or 3 channels, not {shape}")
    _check_shape(tensor.shape[1], tensor.shape[2])
    tensor = tensor.detach().cpu().permute(1, 2, 0)
    if tensor.dtype.is_floating_point:
        tensor = tensor.double()
        # NaN fails both comparisons.
        if not bool(((tensor >= 0) & (tensor <= 1)).all()):
            raise InvalidImage("a float tensor must hold values in [0,1]")
        tensor = (tensor * 255).round()
    elif str(tensor.dtype) != "torch.uint8":
        raise InvalidImage(f"a tensor must be uint8 or float, not {tensor.dtype}")
    array: NDArray[np.uint8] = tensor.numpy().astype(np.uint8)
    return array


def _from_pillow(image: Any) -> NDArray[np.uint8]:
    mode = _PILLOW_MODES.get(image.mode)
    if mode is None or "transparency" in image.info:
        what = f"mode {image.mode}" + (" with transparency" if mode else "")
        raise InvalidImage(f"PIL images of {what} are not supported: convert to L or RGB first")
    _check_shape(image.height, image.width)
    try:
        array: NDArray[np.uint8] = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError) as error:  # an image is read when it is first used
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    return array[:, :, None] if array.ndim == 2 else array


def read_image(src: Any) -> Any:
    """A PIL image from a path or binary file, upright as its EXIF says; `InvalidImage` if it is none."""
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(src) as image:
            DEFAULT.check(image.height, image.width)
            image.load()
            return PIL.ImageOps.exif_transpose(image)
    except (CodecError, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise InvalidImage("not a picture that Pillow can read") from None
    except PIL.Image.DecompressionBombError as error:
        raise LimitExceeded(str(error)) from None
    except OSError as error:
        if error.errno is not None:  # the file system's, not the decoder's
            raise
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    except Exception as error:  # Pillow's decoders raise whatever their libraries do
        raise InvalidImage(f"the picture cannot be read: {error}") from None


_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}
"""Writing a decoded picture should not lose more: lossless or nearly so."""


def check_suffix(suffix: str) -> str:
    """Pillow's name of the format with the extension `suffix`; `ValueError` if it writes none."""
    import PIL.Image

    PIL.Image.init()
    name = PIL.Image.registered_extensions().get(suffix.lower())
    if name is None or name not in PIL.Image.SAVE:
        raise ValueError(f"no picture format can be written for the extension {suffix!r}")
    return name


def image_bytes(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """`pixels` as a picture file of the format of `suffix`; `ValueError` if there is none."""
    import PIL.Image

    name = check_suffix(suffix)
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, name, **_SAVE_OPTIONS.get(name, {}))
    return out.getvalue()
