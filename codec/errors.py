"""The errors and warnings of this package.

    CodecError
    ├── InvalidImage           the codec does not support the picture to compress
    ├── LimitExceeded          a size exceeds the limits in `limits.py`
    ├── TargetUnreachable      no quality makes the file small enough
    ├── MissingExtra           a required library is not installed; also an `ImportError`
    └── FormatError            the bytes to decompress are not a valid file
        ├── Truncated          … the bytes end too early
        ├── ChecksumMismatch   … the bytes were damaged
        ├── UnsupportedVersion … the file needs another version of this package
        └── UnknownModel       … the file needs a model that is not installed

`LimitExceeded` is also raised when there is not enough memory. For any input bytes,
`decompress`, `inspect` and `verify` raise only errors of this list. Invalid arguments raise
`TypeError` or `ValueError`, and file problems raise `OSError`, as usual in Python. `TargetMissed`,
`NotKept` and `FileSystemWarning` are warnings, not errors.
"""

from __future__ import annotations

from collections.abc import Iterable


class CodecError(Exception):
    """Base of all errors of this package."""


class InvalidImage(CodecError):
    """The picture has a shape, dtype or mode that cannot be compressed; the message says which."""


class LimitExceeded(CodecError):
    """A picture or file exceeds the limits or the available memory."""


class TargetUnreachable(CodecError):
    """`target_bytes` is less than the picture takes at quality 0; the message states that size,
    or the size of the metadata if that alone is more than the target."""


class MissingExtra(CodecError, ImportError):
    """A required optional library is not installed; the message says what to install."""


class TargetMissed(UserWarning):
    """A warning: no quality reaches the target. The result is the file nearest to it."""


class FormatError(CodecError):
    """The bytes are not a valid file."""


class Truncated(FormatError):
    """The bytes end before the end of the file."""


class ChecksumMismatch(FormatError):
    """The bytes were damaged after they were written."""


class UnsupportedVersion(FormatError):
    """The file uses a version or feature of the format that this package does not support."""


class UnknownModel(FormatError):
    """The file was written with a model that is not installed."""


class NotKept(UserWarning):
    """A warning: part of the source is not kept in the result. The message says which part.

    `items` names what is not kept, one by one; by default, it holds the message.
    """

    def __init__(self, message: str, items: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.items = tuple(items) or (message,)


class FileSystemWarning(UserWarning):
    """A warning: the file system lacks an operation. The data is written; the message says what
    differs."""
