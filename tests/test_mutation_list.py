"""The list of `tests.mutation_check` has not rotted; running it takes minutes, and is done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation_check import MUTATIONS, Mutation, occurrences

TESTS = Path(__file__).parent


def test_names_are_unique() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_source_still_has_it(mutation: Mutation) -> None:
    assert occurrences(mutation) == 1
    assert mutation.new != mutation.old
    for target in mutation.targets:
        file, _, function = target.partition("::")
        assert f"def {function}" in (TESTS / file).read_text(encoding="utf-8")
