"""Mutations of `codec/coding`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

BOMBS = "engine/test_bombs.py::test_frames_in_stored_tiles"
SEARCH = "coding/test_effort.py::test_the_search_knows_dense_tiles"
DENSE = "coding/test_latents.py::test_a_large_latent_makes_its_tile_dense"
EXTREMES = "model/test_extremes.py"
INVALID = "format/test_invalid.py"
LATENTS = "coding/test_latents.py"
LAYOUT = "format/test_layout.py"
RANGE = f"{EXTREMES}::test_symbols_out_of_range_are_refused"
RESIDUAL = "coding/test_residual.py"

FORGED = f"{RESIDUAL}::test_forged_payloads"

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
        ("symbols CRC", "if crc_of([hyper[n], values]) != crc:", NEVER, LATENTS),
        ("CRC of hyper-latents too", '"<i4", copy=False).tobytes(), crc)', '"<i4", copy=False).tobytes())',
         f"{LATENTS}::test_the_order_of_coding"),
        ("range of hyper-latents", "        check_range(values)\n        hyper", "        hyper", RANGE),
        ("range of symbols", "        check_range(values)\n        decoder", "        decoder", RANGE),
        ("range above", "max(int(symbols.max()), -int(symbols.min())) > SYMBOL_LIMIT",
         "-int(symbols.min()) > SYMBOL_LIMIT", RANGE),
        ("range below", "max(int(symbols.max()), -int(symbols.min())) > SYMBOL_LIMIT",
         "int(symbols.max()) > SYMBOL_LIMIT", RANGE),
        ("words left over", "        decoder.finish()\n", "", LATENTS),
        ("hyper-latents in range", "z = quantize(model", "z = torch.round(model",
         f"{EXTREMES}::test_symbols_at_and_beyond_the_ends_of_tables"),
        ("lowest symbol of a dtype", "np.min_scalar_type(-largest - 1)", "np.min_scalar_type(-largest)",
         f"{EXTREMES}::test_symbols_take_few_bytes_where_they_fit"),
        ("symbols that are not coded", "scale_index, dead_zone)) * coded)", "scale_index, dead_zone)))",
         f"{LATENTS}::test_symbols_that_are_not_coded"),
        ("dense tiles", "return discarded > _MOST_DISCARDED", "return discarded < 0", DENSE),
        ("latents far below their mean", "skipped.abs().amax", "skipped.amax", DENSE),
        ("padding makes no tile dense", "masked_fill(coded | (scale_index < 0), 0)",
         "masked_fill(coded, 0)", f"{LATENTS}::test_the_padding_of_odd_sizes_has_no_symbols"),
        ("flag of dense tiles", "_coded(tables, indexes[n], dense[n])", "_coded(tables, indexes[n], False)",
         DENSE),
    ),
    *of(
        "coding/search.py",
        ("a search makes no tile dense", "if sharpness is None and too_far(discarded):", NEVER, SEARCH),
        ("padding in the search", "skipped = mean_model.select(1 - coded, step)",
         "skipped = 1 - mean_model.select(coded, step)",
         "coding/test_effort.py::test_the_padding_of_odd_sizes_discards_nothing"),
        ("the search of a dense tile", "begins_dense = bool(_cost(model, window, around, best, None)"
         ".total.isinf())", "begins_dense = False", SEARCH),
    ),
    *of(
        "coding/residual.py",
        ("residual kept in range", "np.clip(decoded + residual.astype(np.int64) * step, 0, full)",
         "(decoded + residual.astype(np.int64) * step)", RESIDUAL),
        ("no overflow of a residual", "residual.astype(np.int64) * step", "residual * np.int32(step)",
         RESIDUAL),
        ("negative scale", "if int(scales.min()) < 0 or", "if", FORGED),
        ("scale over the tables", " or int(scales.max()) >= SCALES:", ":", FORGED),
        ("range of differences", "        check_range(differences)\n", "", FORGED),
        ("range of a residual", "        check_range(symbols)\n", "", FORGED),
        ("words after a residual", "        decoder.finish()\n", "", FORGED),
        ("CRC of a residual's symbols", "if crc_of([differences, symbols]) != content_crc:", NEVER,
         FORGED),
    ),
]
