"""Every mutation of `tests.support.mutations` still applies to the source.

The mutation check itself is run by hand.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.mutation_check import ROOT, occurrences
from tests.support.mutations import MUTATIONS, Mutation

TESTS = Path(__file__).parent


def test_names_are_unique() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_source_still_has_it(mutation: Mutation) -> None:
    assert occurrences(mutation) == 1
    assert mutation.new != mutation.old
    text = (ROOT / "codec" / mutation.file).read_text(encoding="utf-8")
    ast.parse(text.replace(mutation.old, mutation.new))  # a syntax error would fail any test
    for target in mutation.targets:
        file, _, function = target.partition("::")
        assert f"def {function}" in (TESTS / file).read_text(encoding="utf-8")
