"""A learned image codec: small files, the same symbols on every machine.

    data = codec.compress(image, quality=75)
    image = codec.decompress(data)

Importing this package loads neither torch nor weights. The first call that needs them loads them.
"""

from codec.api import Codec, compress, decompress, models
from codec.convert import decode, encode
from codec.data.reading.dataset import Dataset
from codec.engine.reading import Info, inspect, read_metadata, verify
from codec.errors import (
    ChecksumMismatch,
    CodecError,
    FileSystemWarning,
    FormatError,
    InvalidImage,
    LimitExceeded,
    MissingExtra,
    NotKept,
    TargetMissed,
    TargetUnreachable,
    Truncated,
    UnknownModel,
    UnsupportedVersion,
)
from codec.format.metadata import Metadata
from codec.integrations.pillow import register_pillow, worker_init
from codec.limits import Limits
from codec.version import __version__

__all__ = [
    "ChecksumMismatch",
    "Codec",
    "CodecError",
    "Dataset",
    "FileSystemWarning",
    "FormatError",
    "Info",
    "InvalidImage",
    "LimitExceeded",
    "Limits",
    "Metadata",
    "MissingExtra",
    "NotKept",
    "TargetMissed",
    "TargetUnreachable",
    "Truncated",
    "UnknownModel",
    "UnsupportedVersion",
    "__version__",
    "compress",
    "decode",
    "decompress",
    "encode",
    "inspect",
    "models",
    "read_metadata",
    "register_pillow",
    "verify",
    "worker_init",
]
