"""Every mutation of `tests.support.mutations` still applies to the source.

The mutation check itself is run by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.mutation_check import occurrences
from tests.support.mutations import MUTATIONS, Mutation

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
