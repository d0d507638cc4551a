"""A second decoder of symbols, written from FORMAT.md with plain numpy and Python integers.

It shares no code with the package, torch or constriction. It also uses different arithmetic: the
package carries integers in float32, while this module uses int64 and a textbook range decoder. It
is slow. `test_oracle` compares it with the package.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_LIMIT = 32 << 4
"""Activations are integers in units of 2^-4, within ±32."""

_SCALES = 64


class Refused(ValueError):
    """The payload cannot be decoded."""


@dataclasses.dataclass
class Values:
    """The decoded values of a payload."""

    coded: list[Ints]
    """The values of both group calls in coding order."""
    first: Ints
    """Hyper-latents, rows × columns × N, or scales of the blocks."""
    second: Ints
    """Symbols of the latents, h × w × M, or residuals, H × W × C."""

    @property
    def crc(self) -> int:
        """The content CRC."""
        return zlib.crc32(np.concatenate(self.coded).astype("<i4").tobytes())


def divide(x: Ints, bits: int) -> Ints:
    """Return x / 2^bits, rounded to the nearest integer, with ties to even."""
    half = 1 << (bits - 1)
    low = x & ((1 << bits) - 1)
    quotient = x >> bits
    rounded: Ints = quotient + ((low > half) | ((low == half) & (quotient & 1 == 1)))
    return rounded


def activation(total: Ints) -> Ints:
    """Convert the sum of a layer from units of 2^-12 to an activation in units of 2^-4."""
    # The slope of 1/8 needs three more bits.
    return np.clip(divide(np.where(total < 0, total, 8 * total), 11), -_LIMIT, _LIMIT)


class RangeDecoder:
    """The range decoder of FORMAT.md: 32-bit words, 64-bit state, probabilities of 24 bits."""

    def __init__(self, payload: bytes) -> None:
        if len(payload) % 4:
            raise Refused("not whole words")
        self.words = np.frombuffer(payload, "<u4").tolist()
        self.position = 0
        self.lower, self.range = 0, 2**64 - 1
        self.point = self._word() << 32
        self.point |= self._word()

    def _word(self) -> int:
        self.position += 1
        return self.words[self.position - 1] if self.position <= len(self.words) else 0

    def symbol(self, cumulative: list[int]) -> int:
        """Decode the next position in a table with these cumulative frequencies, from 0 to 2^24."""
        unit = self.range >> 24
        quantile = ((self.point - self.lower) % 2**64) // unit
        if quantile >= 1 << 24:
            raise Refused("impossible code")
        found = bisect.bisect_right(cumulative, quantile) - 1
        self.lower = (self.lower + unit * cumulative[found]) % 2**64
        self.range = unit * (cumulative[found + 1] - cumulative[found])
        if self.range < 1 << 32:
            self.lower = (self.lower << 32) % 2**64
            self.range <<= 32
            self.point = (self.point << 32) % 2**64 | self._word()
        return found

    def finish(self) -> None:
        """Raise `Refused` if the payload certainly goes on."""
        unread = self.position < len(self.words)
        untouched = self.range == 2**64 - 1
        if unread or not (untouched or (self.point - self.lower) % 2**64 < 2**33 - 1):
            raise Refused("the payload goes on")


class Oracle:
    """Decoder with the model of a weights file, which is read without safetensors or torch."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        config = json.loads(header["__metadata__"]["codec"])["config"]
        self.latents, self.hyper_latents = config["latents"], config["hyper_latents"]
        types = {"I8": "<i1", "I16": "<i2", "I32": "<i4"}
        self.tensors: dict[str, Ints] = {}
        for name, entry in header.items():
            if name.startswith(("scale_model.", "tables.")):
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                values = np.frombuffer(data[start:end], types[entry["dtype"]])
                self.tensors[name] = values.reshape(entry["shape"]).astype(np.int64)
        self.lowest = self.tensors["tables.lowest"].tolist()
        self.skip = int(self.tensors["tables.skip"])
        sizes = self.tensors["tables.size"]
        frequencies = np.split(self.tensors["tables.frequencies"], np.cumsum(sizes)[:-1])
        self.cumulative = [[0, *np.cumsum(table).tolist()] for table in frequencies]

    def _linear(self, name: str, x: Ints) -> Ints:
        """Return the sums of a layer in units of 2^-12."""
        weight, bias = (self.tensors[f"scale_model.{name}.{part}"] for part in ("weight", "bias"))
        total: Ints = x @ weight.T + bias
        return total

    def _quality(self, name: str, level: int) -> Ints:
        """Return an interpolated row of a quality table, in units of 2^-11."""
        table = self.tensors[f"scale_model.{name}.table"]
        low = min(level // 128, 7)
        share = level - 128 * low
        row: Ints = table[low] * (128 - share) + table[low + 1] * share
        return row

    def scale_indexes(self, z: Ints, level: int, size: tuple[int, int]) -> Ints:
        """Return the scale index of each latent, h×w×M, from hyper-latents rows × columns × N."""
        rows, columns, _ = z.shape
        padded = np.pad(16 * np.clip(z, -32, 32), ((1, 1), (1, 1), (0, 0)))
        nine = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        total = self._linear("spatial", np.concatenate(nine, -1))
        x = activation(total + 2 * self._quality("quality", level))
        x = activation(self._linear("hidden", x))
        # 8 times the sum, in units of 2^-11, for each of 4 × 4 latents.
        x = 4 * self._linear("index", x).reshape(rows, columns, 4, 4, self.latents)
        index = np.clip(divide(x + self._quality("offset", level), 11), 0, _SCALES - 1)
        index = index.transpose(0, 2, 1, 3, 4).reshape(4 * rows, 4 * columns, self.latents)
        return index[: size[0], : size[1]]

    def symbols(self, payload: bytes, level: int, size: tuple[int, int]) -> Values:
        """Decode the payload of a tile of `size` latents."""
        rows, columns = (-(-edge // 4) for edge in size)
        coder = RangeDecoder(payload)
        skip = -1 if coder.symbol([0, 2**24 - 2**14, 2**24]) else self.skip
        first = _SCALES + (level + 64) // 128 * self.hyper_latents
        tables = np.arange(first, first + self.hyper_latents)
        z, coded_z = self._group_call(coder, np.tile(tables, (rows, columns, 1)))
        index = self.scale_indexes(z, level, size)
        y, coded_y = self._group_call(coder, np.where(index > skip, index, -1))
        coder.finish()
        return Values([coded_z, coded_y], z, y)

    def residual(self, payload: bytes, shape: tuple[int, int, int]) -> Values:
        """Decode the residual of a tile of `shape` H×W×C."""
        coder = RangeDecoder(payload)
        blocks = (-(-shape[0] // 8), -(-shape[1] // 8), shape[2])
        scale, coded_scale = self._group_call(coder, np.full(blocks, 35))
        for i, j, c in np.ndindex(*blocks):
            scale[i, j, c] += scale[i, j - 1, c] if j else scale[i - 1, 0, c] if i else 0
            if not 0 <= scale[i, j, c] < _SCALES:
                raise Refused("scale")
        y, x = np.indices(shape[:2]) // 8
        residual, coded_residual = self._group_call(coder, scale[y, x])
        coder.finish()
        return Values([coded_scale, coded_residual], scale, residual)

    def _group_call(self, coder: RangeDecoder, tables: Ints) -> tuple[Ints, Ints]:
        """Return the values in the shape of `tables`, and those that are coded, in coding order.

        Values whose table is -1 are not coded. They are 0.
        """
        flat = tables.reshape(-1)
        order = [place for place in np.argsort(flat, kind="stable").tolist() if flat[place] >= 0]
        values: list[int] = []
        escaped: list[tuple[int, int]] = []
        for place in order:
            table = int(flat[place])
            found = coder.symbol(self.cumulative[table])
            if found == len(self.cumulative[table]) - 2:
                escaped.append((len(values), self.lowest[table]))
            values.append(self.lowest[table] + found)
        distances = self._digits(coder, len(escaped))
        for (place, lowest), distance in zip(escaped, distances, strict=True):
            if distance % 2:
                values[place] = lowest - (distance + 1) // 2
            else:
                values[place] += distance // 2
        if any(abs(value) > 1 << 20 for value in values):
            raise Refused("out of range")
        coded = np.array(values, np.int64)
        everything = np.zeros(flat.size, np.int64)
        everything[order] = coded
        return everything.reshape(tables.shape), coded

    def _digits(self, coder: RangeDecoder, count: int) -> list[int]:
        equal = [byte << 16 for byte in range(257)]
        values = [0] * count
        pending = list(range(count))
        for plane in range(4):
            more = []
            for place in pending:
                digit = coder.symbol(equal)
                values[place] |= (digit & 127) << (7 * plane)
                if digit >= 128:
                    more.append(place)
                elif plane and not digit:
                    raise Refused("not the shortest form")
            pending = more
        if pending:
            raise Refused("too long")
        return values
