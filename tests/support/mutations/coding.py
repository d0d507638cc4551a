"""Mutations of `codec/coding`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

BOMBS = "engine/test_bombs.py::test_frames_in_stored_tiles"
EXTREMES = "model/test_extremes.py"
INVALID = "format/test_invalid.py"
LAYOUT = "format/test_layout.py"
RESIDUAL = "coding/test_residual.py"

MUTATIONS = [
    *of(
        "coding/stored.py",
        ("a tie is stored as it is", "if len(packed) < len(raw)", "if len(packed) <= len(raw)", LAYOUT),
        ("payload longer than its content", "if len(payload) > size:", NEVER, INVALID),
        ("content size of a frame", "if zstandard.get_frame_parameters(payload).content_size != size:",
         NEVER, BOMBS),
        ("extra data", "allow_extra_data=False", "allow_extra_data=True", BOMBS),
        ("errors of zstd", "except zstandard.ZstdError as error:", "except KeyError as error:", INVALID),
        ("depth of samples", "    if int(samples.max()) >> depth:", "    if False:", INVALID),
        ("content CRC of stored tiles", "    _check(raw, content_crc, what)\n", "", INVALID),
        ("content CRC of alpha", "    _check(to_bytes(alpha), content_crc, what)\n", "", INVALID),
        ("empty alpha", "if not len(payload):", NEVER, INVALID),
        ("filter number", "if payload[0] >= _FILTERS:", NEVER, INVALID),
        ("depth of alpha", "if depth < 16 and int(alpha.max()) >> depth:", NEVER, INVALID),
    ),
    *of(
        "coding/latents.py",
        ("symbols CRC", "if crc_of(tile) != crc:", NEVER, INVALID),
        ("range of hyper-latents", "        check_range(symbols)\n        decoded.append([symbols])",
         "        decoded.append([symbols])", EXTREMES),
        ("range of symbols", "            check_range(symbols)\n            decoded[n]",
         "            decoded[n]", EXTREMES),
        ("range above", "max(int(symbols.max()), -int(symbols.min())) > SYMBOL_LIMIT",
         "-int(symbols.min()) > SYMBOL_LIMIT", EXTREMES),
        ("range below", "max(int(symbols.max()), -int(symbols.min())) > SYMBOL_LIMIT",
         "int(symbols.max()) > SYMBOL_LIMIT", EXTREMES),
        ("words left over", "        decoder.finish()\n", "", INVALID),
        ("scale index", ".round().clamp(0, SCALES - 1)", ".round()", EXTREMES),
        ("clamped hyper-latents", "quantize(z).clamp(-LIMIT, LIMIT)", "quantize(z)", EXTREMES),
    ),
    *of(
        "coding/residual.py",
        ("residual kept in range", "np.clip(decoded + residual.astype(np.int64) * step, 0, full)",
         "(decoded + residual.astype(np.int64) * step)", RESIDUAL),
        ("no overflow of a residual", "residual.astype(np.int64) * step", "residual * np.int32(step)",
         RESIDUAL),
        ("negative scale", "if int(scales.min()) < 0 or", "if", RESIDUAL),
        ("scale over the tables", " or int(scales.max()) >= SCALES:", ":", RESIDUAL),
        ("range of differences", "        check_range(differences)\n", "", RESIDUAL),
        ("range of a residual", "        check_range(residual)\n", "", RESIDUAL),
        ("words after a residual", "        decoder.finish()\n", "", RESIDUAL),
        ("CRC of a residual's symbols", "if crc_of([differences, residual]) != content_crc:", NEVER,
         RESIDUAL),
    ),
]
