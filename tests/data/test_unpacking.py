"""Names of unpacked files on file systems that do not distinguish all names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

import codec
import codec.data
from codec.data import unpacking
from tests.support.pictures import textured


@pytest.mark.parametrize("folds", [False, True])
def test_names_that_differ_in_case_or_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: bool
) -> None:
    data = codec.compress(textured(8, 8))
    names = ["a.png", "A.png", *(unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))]
    codec.data.pack([{"image": data, "path": name} for name in names], tmp_path / "set")
    if folds:
        monkeypatch.setattr(unpacking, "folds_names", lambda folder: True)
    assert codec.data.unpack(codec.Dataset(tmp_path / "set"), tmp_path / "out", suffix=".cae") == []
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert len({unicodedata.normalize("NFC", name.casefold()) for name in found}) == (4 if folds else 2)
    assert len(found) == 4


def test_folding_is_found_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "probe").touch()
    assert unpacking.folds_names(tmp_path) is (tmp_path / "PROBE").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["probe"]
    assert unpacking.folds_names(tmp_path / "missing") is False
