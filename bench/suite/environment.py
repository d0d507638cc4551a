"""Software and hardware of a benchmark. The figures mean little without them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from .measure import cores

_PACKAGES = ("torch", "numpy", "constriction", "zstandard", "pillow", "imagecodecs", "pytorch-msssim",
             "ssimulacra2", "bjontegaard")

_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
"""Environment variables that limit the instructions that libraries use."""


def cpu() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def instruction_set() -> str:
    """Vector instructions of the processor that matter for speed, and limits set for libraries."""
    import torch

    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.11 and later
    names = {"avx2": "AVX2", "avx512_f": "AVX-512", "avx512_bf16": "AVX-512-BF16", "amx_bf16": "AMX"}
    found = [name for key, name in names.items() if known.get(key)] or [
        torch.backends.cpu.get_cpu_capability()
    ]
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ]
    return " ".join([", ".join(found), *(f"({limit})" for limit in limits)])


def machine() -> str:
    """Processor and cores. Times from different machines are different measurements."""
    return f"{cpu()}, {cores()} cores"


def environment() -> dict[str, str | int]:
    """Software and hardware, for the report."""
    import codec

    found: dict[str, str | int] = {"codec": codec.__version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        **found, "Python": platform.python_version(), "system": platform.system(),
        "CPU": cpu(), "cores": cores(), "cores of the machine": os.cpu_count() or 1,
    }
