"""Everything that `codec` raises on purpose.

    CodecError
    ├── InvalidImage           the picture to compress is not one that the codec takes
    ├── LimitExceeded          a size is beyond the limits in `limits.py`
    ├── TargetUnreachable      no quality makes the file as small as it must be
    ├── MissingExtra           a library that this needs is not installed; also an `ImportError`
    └── FormatError            the bytes to decompress are not a valid file
        ├── Truncated          … they end too early
        ├── ChecksumMismatch   … they were damaged
        ├── UnsupportedVersion … they need a newer version of this package
        └── UnknownModel       … they need a model that is not installed

`LimitExceeded` also stands for too little memory. Nothing else leaves `decompress`, `inspect` or
`verify`, whatever the bytes. Wrong arguments raise `TypeError` or `ValueError`, trouble with files
`OSError`, as everywhere in Python. `TargetMissed` and `NotKept` are warnings, not errors.
"""


class CodecError(Exception):
    """Base of all errors of this package."""


class InvalidImage(CodecError):
    """The picture has a shape, dtype or mode that cannot be compressed; the message says which."""


class LimitExceeded(CodecError):
    """A picture or file is larger than the limits, or the memory, allow."""


class TargetUnreachable(CodecError):
    """`target_bytes` is less than the picture takes at quality 0; the message says how much that is."""


class MissingExtra(CodecError, ImportError):
    """A library that is not installed with the package; the message says what to install."""


class TargetMissed(UserWarning):
    """A warning: no quality reaches the target, and the file is the nearest to it."""


class FormatError(CodecError):
    """The bytes are not a valid file."""


class Truncated(FormatError):
    """The bytes end before the file does."""


class ChecksumMismatch(FormatError):
    """The bytes were damaged after they were written."""


class UnsupportedVersion(FormatError):
    """The file uses a version or feature of the format that this package does not know."""


class UnknownModel(FormatError):
    """The file was written with a model that is not installed."""


class NotKept(UserWarning):
    """A warning: something of a file does not make it into the other, and the message says what."""
