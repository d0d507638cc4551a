"""Writing and reading the integers of a header, of fixed and variable length."""

from __future__ import annotations

from codec.errors import FormatError


def write_varint(value: int) -> bytes:
    """Encode `value` as unsigned LEB128: seven bits per byte, lowest first, shortest form."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Reads fields one after another from bytes that are known to be complete."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise FormatError("header ends inside a field")
        self.position += count
        return bytes(self.data[self.position - count : self.position])

    def byte(self) -> int:
        return self.take(1)[0]

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self) -> int:
        value = 0
        for index in range(5):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                if index and not byte:
                    raise FormatError("integer is not in its shortest form")
                return value
        raise FormatError("integer is longer than five bytes")
