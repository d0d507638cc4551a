"""Imports point one way, the root of the package stays small, and `import codec` stays light."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import codec
from tests.support.imports import depth, imported, module_graph, modules, unit, unit_graph

ROOT = Path(codec.__file__).parent
BENCH = ROOT.parent / "bench"
MODULES = modules(ROOT)
GRAPH = module_graph(ROOT)

# Each layer may import from the layers above it. docs/architecture.md says what each folder is for.
LAYERS = [
    {"errors", "version"},
    {"limits", "extras"},
    {"entropy_coder"},
    {"model"},
    {"format"},
    {"pictures"},
    {"coding"},
    {"engine"},
    {"api"},
    {"convert"},
    {"CodecImagePlugin"},
    {"data", "integrations"},
    {"__init__"},
    {"training"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

AT_THE_ROOT = {
    "__init__", "__main__", "api", "convert", "errors", "limits", "version", "extras", "entropy_coder",
    "CodecImagePlugin",
}

UNRELATED = [("format", "model"), ("pictures", "model"), ("pictures", "entropy_coder"), ("model", "limits")]
"""Pairs of which the first never imports the second, although the order of the layers allows it."""


def test_every_file_has_a_layer() -> None:
    assert {unit(module) for module in MODULES} == set(RANK)


def test_new_files_go_into_folders() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == AT_THE_ROOT


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    for other in GRAPH[module]:
        allowed = unit(other) == unit(module) or RANK[unit(other)] < RANK[unit(module)]
        assert allowed, f"{module} imports {other}"


def test_folders_that_know_nothing_of_each_other() -> None:
    graph = unit_graph(ROOT)
    assert [pair for pair in UNRELATED if pair[1] in graph[pair[0]]] == []


@pytest.mark.parametrize("root", [ROOT, BENCH], ids=["codec", "bench"])
def test_no_module_imports_itself_through_others(root: Path) -> None:
    assert depth(module_graph(root)) > 1


def test_the_benchmark_does_not_need_the_studies() -> None:
    assert unit_graph(BENCH)["studies"] == {"suite"}
    assert unit_graph(BENCH)["suite"] == set()


def test_no_import_is_relative() -> None:
    relative = re.compile(r"^\s*from \.", re.MULTILINE)
    assert not [path for path in MODULES.values() if relative.search(path.read_text(encoding="utf-8"))]


def libraries(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported(MODULES[module], module)}


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("constriction", {"codec.entropy_coder"}),
        ("safetensors", {"codec.model.weights"}),
        ("zstandard", {"codec.coding.stored"}),
        ("click", {f"codec.cli.{name}" for name in (
            "main", "entry", "options", "compress", "info", "dataset", "train", "jobs", "running", "streams",
        )}),
        ("bench", set()),
        ("tests", set()),
    ],
)
def test_one_place_owns_a_library(library: str, owners: set[str]) -> None:
    assert {module for module in MODULES if library in libraries(module)} == owners


@pytest.mark.parametrize("module", [module for module in MODULES if unit(module) == "format"])
def test_the_format_uses_the_standard_library_only(module: str) -> None:
    assert libraries(module) <= {*sys.stdlib_module_names, "codec"}


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
def test_folders_say_what_they_import_and_where_to_start(folder: str) -> None:
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    stated = re.search(r"^Imports: (.*?)(?:\.\s|,? and otherwise)", text, re.MULTILINE | re.DOTALL)
    assert stated is not None
    named = set(re.findall(r"`(\w+)`", stated[1]))
    found = unit_graph(ROOT)[folder] - {"errors", "limits", "extras", "version"}
    if "everything" in stated[1]:
        named = set(RANK)
    elif "and below" in stated[1]:
        assert named <= found
        named |= {name for name in RANK if RANK[name] < min(RANK[one] for one in named)}
    else:
        assert named - {"errors", "limits"} == found
    assert found <= named
    assert "Start reading" in text


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
    file.write_bytes(codec.compress(np.zeros((9, 9), np.uint8)))
    code = (
        f"import codec, sys; d = open({str(file)!r}, 'rb').read()\n"
        "codec.verify(d); print(codec.inspect(d).width, 'torch' in sys.modules)"
    )
    assert run_python(code).split() == ["9", "False"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom codec.cli.main import main\n"
        "try: main(['--help'], standalone_mode=False)\n"
        "finally: print('torch' in sys.modules)"
    )
    assert run_python(code).split()[-1] == "False"


def test_exported_names() -> None:
    assert all(hasattr(codec, name) for name in codec.__all__)
    assert sorted(codec.__all__) == codec.__all__
    public = {name for name in vars(codec) if not name.startswith("_")}
    assert public - {unit(module) for module in MODULES} - set(codec.__all__) == set()
