"""The mutations of `tests.support.mutation_check`. Each removes a check, a limit or a bound.

There is one module for each folder of `codec/`, and `root` for the files beside the folders. A row
is a name, a text of the file, the text in its place, and the tests that must notice it: as few and
as small as possible. What matters for trust is in the list: checksums, limits, bounds, refusals,
exactness, locks. Small mistakes that any test notices are not.

The list contains `os.fsync`, because a test can check that it is called. No test can check that the
data reaches the disk. The list does not contain `nan_to_num` in `codec.engine.tile_decoding`: C++
does not define which integer a NaN becomes, and common processors also make it 0.
"""

from __future__ import annotations

from tests.support.mutations import cli, coding, data, engine, format, model, pictures, root, training
from tests.support.mutations.mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

MUTATIONS: list[Mutation] = [
    *root.MUTATIONS, *format.MUTATIONS, *coding.MUTATIONS, *model.MUTATIONS, *engine.MUTATIONS,
    *pictures.MUTATIONS, *data.MUTATIONS, *training.MUTATIONS, *cli.MUTATIONS,
]
