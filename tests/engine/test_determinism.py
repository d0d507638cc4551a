"""The shipped model gives the same files and the same symbols in every configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def run(name: str, prepared: Path) -> dict[str, list[str]]:
    threads, mkldnn, extra = {**CONFIGURATIONS, **MORE}[name]
    # Threads that wait actively would keep other threads from running where cores are shared.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **extra}
    worker = [sys.executable, "-m", "tests.support.determinism_worker"]
    command = [*worker, str(threads), str(int(mkldnn)), str(prepared)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, list[str]] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("determinism") / "files.json"


@pytest.fixture(scope="module")
def reference(prepared: Path) -> dict[str, list[str]]:
    result = run("1 thread", prepared)
    # A picture gives the same file alone and as the first of a batch of three.
    assert result["batch"][::3] == result["files"]
    return result


@pytest.mark.parametrize(
    "name", [*list(CONFIGURATIONS)[1:], *(pytest.param(name, marks=pytest.mark.nightly) for name in MORE)]
)
def test_identical(name: str, reference: dict[str, list[str]], prepared: Path) -> None:
    assert run(name, prepared) == reference
