"""Files of the shipped model decode alike in every configuration of threads and libraries.

`tests.support.determinism_worker` says what is checked. Every configuration decodes the files of
those before it. At the end, two of them decode the files of all, and write their own once more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import children, determinism_worker

ROOT = Path(__file__).parents[2]

# Threads, oneDNN, extra environment variables.
CONFIGURATIONS: dict[str, tuple[int, bool, dict[str, str]]] = {
    "1 thread": (1, True, {}),
    "2 threads": (2, True, {}),
    "3 threads": (3, True, {}),
    "4 threads": (4, True, {}),
    "ATen without vector instructions": (2, True, {"ATEN_CPU_CAPABILITY": "default"}),
    "ATen with AVX2": (2, True, {"ATEN_CPU_CAPABILITY": "avx2"}),
    "oneDNN off": (2, False, {}),
    "oneDNN with SSE4.1, MKL compatible": (
        1, True, {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    ),
    "MKL with AVX2": (1, True, {"MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
}

MORE: dict[str, tuple[int, bool, dict[str, str]]] = {
    "8 threads": (8, True, {}),
    "oneDNN with AVX2": (1, True, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "oneDNN with AVX-512": (1, True, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),  # or less
    "MKL without vector instructions, ATen as well": (
        1, False, {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"},
    ),
}
if "avx512f" in Path("/proc/cpuinfo").read_text():
    MORE["ATen with AVX-512"] = (2, True, {"ATEN_CPU_CAPABILITY": "avx512"})


def run(name: str, folder: Path) -> None:
    """Run the worker in a child, or in a new process if libraries must load with its variables."""
    threads, mkldnn, extra = {**CONFIGURATIONS, **MORE}[name]
    if not extra:
        children.call(determinism_worker.run, name, threads, mkldnn, folder)
        return
    # Threads that wait actively would keep other threads from running where cores are shared.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **extra}
    worker = [sys.executable, "-m", "tests.support.determinism_worker"]
    command = [*worker, name, str(threads), str(int(mkldnn)), str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of configurations, at first of the first one."""
    path: Path = tmp_path_factory.mktemp("determinism")
    run("1 thread", path)
    return path


@pytest.mark.parametrize(
    "name", [*list(CONFIGURATIONS)[1:], *(pytest.param(name, marks=pytest.mark.nightly) for name in MORE)]
)
def test_files_decode_alike(name: str, folder: Path) -> None:
    run(name, folder)


@pytest.mark.parametrize("name", ["1 thread", "2 threads"])
def test_the_same_files_again(name: str, folder: Path) -> None:
    if not (folder / f"{name}.pickle").exists():
        run(name, folder)
    run(name, folder)
