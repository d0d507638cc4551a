"""What a device can compute fast."""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch

Precision = Literal["float32", "bfloat16"]


@functools.cache
def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware.

    Emulated bfloat16 is slower than float32. Before torch 2.11, which can tell, no CPU does.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    about: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(about.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
