"""Imports point one way, and `import codec` stays light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import codec

ROOT = Path(codec.__file__).parent

# Each layer may import from those above it, and from its own.
LAYERS = [
    {"errors", "limits", "files", "effort", "parallel", "extras", "version"},
    {"tiling", "entropy_coder", "transparency"},
    {"container", "registry"},
    {"image", "rows"},
    {"lossless", "raster", "metadata"},
    {"rate_control", "reading", "image_files"},
    {"model"},
    {"latent_codec", "residual"},
    {"search", "decoding"},
    {"pipeline"},
    {"api"},
    {"convert"},
    {"data", "integrations", "CodecImagePlugin"},
    {"__init__"},
    {"training"},
    {"cli_train", "cli_jobs", "cli_dataset"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

SOURCES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def part(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names.add(node.module or "")
            if node.module == "codec":
                names |= {f"codec.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_one_way(path: Path) -> None:
    for name in imported(path):
        pieces = name.split(".")
        if pieces[0] != "codec" or len(pieces) == 1:
            continue
        target = pieces[1] if pieces[1] in RANK else "__init__"
        assert RANK[target] <= RANK[part(path)], f"{path} imports {name}"


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("constriction", {"entropy_coder.py"}),
        ("safetensors", {"model/weights.py"}),
        ("click", {"cli.py", "cli_dataset.py", "cli_jobs.py", "cli_train.py"}),
    ],
)
def test_one_file_owns_a_library(library: str, owners: set[str]) -> None:
    users = {
        path.as_posix()
        for path in SOURCES
        if any(name.split(".")[0] == library for name in imported(path))
    }
    assert users == owners


def test_nothing_needs_the_benchmark() -> None:
    assert not [path for path in SOURCES if any(name.split(".")[0] == "bench" for name in imported(path))]


def test_the_container_uses_the_standard_library_only() -> None:
    for name in imported(Path("container.py")):
        assert name.split(".")[0] in {*sys.stdlib_module_names, "codec"}


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
    )
    return result.stdout


def test_import_loads_neither_torch_nor_weights() -> None:
    heavy = {"torch", "constriction", "zstandard", "PIL", "safetensors", "click", "rich"}
    code = f"import codec, sys; print({heavy!r} & set(sys.modules))"
    assert run_python(code).strip() == "set()"


def test_inspect_and_verify_need_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "x.cae"
    file.write_bytes(codec.compress(__import__("numpy").zeros((9, 9), "uint8")))
    code = (
        f"import codec, sys; d = open({str(file)!r}, 'rb').read()\n"
        "codec.verify(d); print(codec.inspect(d).width, 'torch' in sys.modules)"
    )
    assert run_python(code).split() == ["9", "False"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom codec.cli import main\n"
        "try: main(['--help'], standalone_mode=False)\n"
        "finally: print('torch' in sys.modules)"
    )
    assert run_python(code).split()[-1] == "False"


def test_exported_names() -> None:
    assert all(hasattr(codec, name) for name in codec.__all__)
    assert sorted(codec.__all__) == codec.__all__
    public = {name for name in vars(codec) if not name.startswith("_")}
    modules = {path.stem for path in ROOT.glob("*.py")} | {"data", "integrations", "model", "training"}
    assert public - modules - set(codec.__all__) == set()
