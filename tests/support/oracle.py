"""A second decoder of symbols, written from FORMAT.md with plain numpy and Python integers.

It shares no code with the package, torch or constriction. It also uses different arithmetic: the
package stores integers as float64, while this module uses int64 and a textbook range decoder. It is
slow. `test_oracle` compares it with the package on files of every shipped model.
"""

from __future__ import annotations

import bisect
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_LIMIT = 128 << 8
"""Activations are integers in units of 2^-8, within ±128."""

_STEP_XOR = (0, 3, 1, 2)
_SCALES = 64


class Refused(ValueError):
    """The payload cannot be decoded."""


def divide(x: Ints, bits: int) -> Ints:
    """Return x / 2^bits, rounded to the nearest integer, with ties to even."""
    half = 1 << (bits - 1)
    low = x & ((1 << bits) - 1)
    quotient = x >> bits
    up = (low > half) | ((low == half) & (quotient & 1 == 1))
    rounded: Ints = quotient + up
    return rounded


def activation(total: Ints, leaky: bool) -> Ints:
    """Convert the sum of a layer from units of 2^-20 to units of 2^-8, and clamp it."""
    if leaky:  # the slope of 1/8 needs three more bits
        return np.clip(divide(np.where(total < 0, total, 8 * total), 15), -_LIMIT, _LIMIT)
    return np.clip(divide(total, 12), -_LIMIT, _LIMIT)


def depth_to_space(x: Ints) -> Ints:
    """Rearrange h×w×4C to 2h×2w×C. The channels are in (row, column, channel) order."""
    h, w, c = x.shape
    return x.reshape(h, w, 2, 2, c // 4).transpose(0, 2, 1, 3, 4).reshape(2 * h, 2 * w, c // 4)


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


class Oracle:
    """Decoder with the model of a weights file, which is read without safetensors or torch."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        self.config = json.loads(header["__metadata__"]["codec"])["config"]
        types: dict[str, str] = {"I16": "<i2", "I32": "<i4", "F16": "<f2", "F32": "<f4"}
        self.tensors: dict[str, Ints] = {}
        for name, entry in header.items():
            if name.startswith(("entropy_model.", "tables.")):
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                values = np.frombuffer(data[start:end], types[entry["dtype"]])
                values = values.reshape(entry["shape"]).astype(np.int64)
                self.tensors[name.removeprefix("entropy_model.")] = values
        self.lowest = self.tensors["tables.lowest"].tolist()
        ends = np.cumsum(self.tensors["tables.size"])
        frequencies = self.tensors["tables.frequencies"]
        self.cumulative = [
            [0, *np.cumsum(frequencies[end - size : end]).tolist()]
            for size, end in zip(self.tensors["tables.size"], ends, strict=True)
        ]

    def _linear(self, name: str, x: Ints, leaky: bool = False) -> Ints:
        return activation(x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"], leaky)

    def _depthwise(self, name: str, x: Ints, leaky: bool = False) -> Ints:
        weight = self.tensors[f"{name}.weight"]
        h, w, _ = x.shape
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        total = np.broadcast_to(self.tensors[f"{name}.bias"], x.shape).copy()
        for i in range(3):
            for j in range(3):
                total += padded[i : i + h, j : j + w] * weight[i, j]
        return activation(total, leaky)

    def _quality(self, name: str, level: int) -> Ints:
        """Return an interpolated row of a quality table, in units of 2^-15."""
        table = self.tensors[f"{name}.table"]
        low = min(level // 128, 7)
        share = level - 128 * low
        row: Ints = table[low] * (128 - share) + table[low + 1] * share
        return row

    def symbols(self, payload: bytes, level: int, size: tuple[int, int]) -> list[Ints]:
        """Decode the payload of a tile of `size` latents.

        Returns the values in coding order, one array for each group call.
        """
        rows, columns = (-(-edge // 4) for edge in size)
        channels, latents = self.config["hyper_latents"], self.config["latents"]
        coder = RangeDecoder(payload)
        first = _SCALES + (level + 64) // 128 * channels
        tables = np.tile(np.arange(first, first + channels), rows * columns)
        z = self._group_call(coder, tables)
        decoded = [z]

        even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        hyper = self._hyper_synthesis(z.reshape(rows, columns, channels))[: even[0], : even[1]]
        hyper = np.clip(divide(hyper * 128 + self._quality("quality", level), 7), -_LIMIT, _LIMIT)
        offset = self._quality("index_offset", level).reshape(4, latents // 4)
        scale = self.tensors["scale"]
        y_hat = np.zeros((*even, latents), np.int64)
        within = np.zeros(even, bool)
        within[: size[0], : size[1]] = True
        bits = np.log2(scale).astype(np.int64)
        for step in range(4):
            x = hyper
            if step:
                parts = [divide(y_hat[..., c], int(b)) if b else y_hat[..., c] for c, b in enumerate(bits)]
                x = np.concatenate([np.clip(np.stack(parts, -1), -_LIMIT, _LIMIT), hyper], -1)
            x = self._linear(f"adapt.{step}", x)
            for block in range(self.config["context_blocks"]):
                name = f"blocks.{block}"
                inside = self._linear(f"{name}.mix_in", x, leaky=True)
                inside = self._depthwise(f"{name}.spatial", inside, leaky=True)
                x = np.clip(x + self._linear(f"{name}.mix_out", inside), -_LIMIT, _LIMIT)
            indexes, places = [], []
            for phase in range(4):
                row, column = divmod(phase, 2)
                group = phase ^ _STEP_XOR[step]
                part = slice(group * latents // 4, (group + 1) * latents // 4)
                total = x[row::2, column::2] @ self.tensors[f"heads.{step}.weight"][phase]
                out = activation(total + self.tensors[f"heads.{step}.bias"][phase], leaky=False)
                mean, index = np.split(out, 2, -1)
                index = np.clip(divide(index * 8 * 128 + offset[group], 15), 0, _SCALES - 1)
                mask = within[row::2, column::2]
                indexes.append(index[mask].reshape(-1))
                places.append((row, column, part, mean * scale[part], mask))
            values = self._group_call(coder, np.concatenate(indexes))
            decoded.append(values)
            done = 0
            for (row, column, part, mean, mask), index in zip(places, indexes, strict=True):
                quantized = np.zeros_like(mean)
                symbols = values[done : done + index.size].reshape(-1, latents // 4)
                quantized[mask] = 256 * symbols + mean[mask]
                y_hat[row::2, column::2, part] = quantized
                done += index.size
        return decoded

    def residual(self, payload: bytes, shape: tuple[int, int, int]) -> list[Ints]:
        """Decode the residual of a tile of `shape` H×W×C.

        Returns the differences of the scales, and the residual.
        """
        height, width, channels = shape
        coder = RangeDecoder(payload)
        rows, columns = -(-height // 8), -(-width // 8)
        differences = self._group_call(coder, np.full(rows * columns * channels, 35))
        scale = np.zeros((rows, columns, channels), np.int64)
        for place, (i, j, c) in enumerate(np.ndindex(*scale.shape)):
            before = scale[i, j - 1, c] if j else scale[i - 1, 0, c] if i else 0
            scale[i, j, c] = differences[place] + before
        if scale.min() < 0 or scale.max() > 63:
            raise Refused("scale")
        tables = [scale[y // 8, x // 8, c] for y, x, c in np.ndindex(*shape)]
        return [differences, self._group_call(coder, np.array(tables))]

    def _hyper_synthesis(self, z: Ints) -> Ints:
        x = np.clip(z, -128, 128) * 256
        x = depth_to_space(self._linear("hyper_synthesis.up_32", x, leaky=True))
        x = self._depthwise("hyper_synthesis.spatial_32", x)
        x = depth_to_space(self._linear("hyper_synthesis.up_16", x, leaky=True))
        return self._depthwise("hyper_synthesis.spatial_16", x)

    def _group_call(self, coder: RangeDecoder, tables: NDArray[Any]) -> Ints:
        order = np.argsort(tables, kind="stable")
        values = np.zeros(tables.size, np.int64)
        escaped = []
        for place in order.tolist():
            table = int(tables[place])
            found = coder.symbol(self.cumulative[table])
            values[place] = self.lowest[table] + found
            if found == len(self.cumulative[table]) - 2:
                escaped.append(place)
        distances = self._digits(coder, len(escaped))
        for place, distance in zip(escaped, distances, strict=True):
            lowest = self.lowest[tables[place]]
            if distance % 2:
                values[place] = lowest - (distance + 1) // 2
            else:
                values[place] += distance // 2
        return values

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
