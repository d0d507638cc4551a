"""Mutations of `codec/engine`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

DAMAGE = "engine/test_damage.py"
DEVICE = "cli/test_main.py::test_unknown_model_and_device"
EXTREMES = "model/test_extremes.py"
FORKS = "integrations/test_pillow.py::test_a_fork_in_the_middle_of_a_call"
INPUTS = "pictures/test_inputs.py"
INVALID = "format/test_invalid.py"
PRECISION = "engine/test_precision.py"
REGIONS = "engine/test_regions.py"
STATE = "test_state.py"

ONE_TILE = f"{REGIONS}::test_one_damaged_tile"

_REGION = (
    "if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:"
)

MUTATIONS = [
    *of(
        "engine/reading.py",
        ("on_error", 'if on_error not in ("raise", "conceal"):', NEVER, REGIONS),
        ("region before the picture", _REGION, _REGION.replace("min(top, left) < 0 or ", ""), REGIONS),
        ("empty region", _REGION, _REGION.replace("min(rows, columns) < 1 or ", ""), REGIONS),
        ("region below the picture", _REGION, _REGION.replace("top + rows > height or ", ""), REGIONS),
        ("region beside the picture", _REGION, _REGION.replace(" or left + columns > width", ""), REGIONS),
        ("region of integers", "operator.index(value) for value", "int(value) for value", REGIONS),
        ("max_pixels of a region", "    limits.check(part.height, part.width)\n", "", REGIONS),
        ("all payloads first", "        file.check_payloads()\n", "        pass\n", INVALID),
    ),
    *of(
        "engine/decoding.py",
        ("deep pictures in float32", "exact = header.depth > 8 or header.step", "exact = header.step",
         f"{PRECISION}::test_more_than_8_bits_are_decoded_in_float32"),
        ("residuals of float32", "exact = header.depth > 8 or header.step", "exact = header.depth > 8",
         f"{PRECISION}::test_a_residual_is_added_to_samples_in_float32"),
        ("latents that are released", "latents.items() if tile in needed}", "latents.items()}",
         f"{REGIONS}::test_latents_of_three_rows_of_tiles_are_held"),
        ("tiles that are lost", "            damage.tiles.add(tile)\n", "", ONE_TILE),
        ("neighbours of lost tiles", "((damage.tiles, halo),", "((damage.tiles, 0),", ONE_TILE),
        ("residual of a lost tile", " or (damage is not None and tile in damage.tiles):", ":",
         "coding/test_residual.py::test_a_lost_tile_has_no_residual"),
    ),
    *of(
        "engine/tile_decoding.py",
        ("pixels are clamped", ".mul(full).clamp_(0, full)", ".mul(full)",
         f"{EXTREMES}::test_pixels_of_the_largest_symbols"),
    ),
    *of(
        "engine/batch_decoding.py",
        ("residuals in a batch", "or header.alpha or header.residual", "or header.alpha",
         f"{PRECISION}::test_a_residual_is_added_to_samples_in_float32"),
        ("deep pictures in a batch", "return header.depth == 8 and not (", "return not (",
         "pictures/test_kinds.py::test_mixed_batches"),
    ),
    *of(
        "engine/encoding.py",
        ("searches for the metric", "        objective.metric, torch.from_numpy(pixels)",
         '        "mse", torch.from_numpy(pixels)', "coding/test_effort.py::test_search_for_ms_ssim"),
        ("no dead zone after a search", "0.0 if effort.iterations else objective.dead_zone",
         "objective.dead_zone",
         "coding/test_effort.py::test_a_search_decides_the_rounding"),
        ("files larger than the samples", "    if stored is not None:", "    if False:",
         "engine/test_round_trip.py::test_noise_never_grows_beyond_raw"),
        ("hidden colour of a residual", "missing[samples[:, :, picture.channels] == 0] = 0", "pass",
         "coding/test_residual.py::test_hidden_colour_costs_nothing"),
    ),
    *of(
        "engine/loaded_model.py",
        ("precision that is chosen", 'precision or ("bfloat16" if', '("bfloat16" if',
         f"{PRECISION}::test_the_default_is_what_the_device_multiplies"),
        ("skip index of tables and training", "if objective.skip != tables.skip:", NEVER,
         "model/test_weights.py::test_tables_of_another_skip_index_than_the_training"),
        ("kinds of devices", 'if where.type not in ("cpu", "cuda"):', NEVER, DEVICE),
        ("devices that are there", 'if where.type == "cuda" and', "if False and", DEVICE),
    ),
    *of(
        "engine/goal.py",
        ("quality", "if not 0 <= quality <= 100:  # also true for NaN", "if quality < 0 or quality > 100:",
         INPUTS),
    ),
    *of(
        "engine/worker.py",
        ("threads", "            if threads < 1:", "            if False:",
         f"{INPUTS}::test_codec_arguments"),
        ("other weights at the path of a pickle", "    if found != sha256:", "    if False:",
         f"{STATE}::test_a_codec_whose_weights_are_not_here"),
    ),
    *of(
        "engine/running.py",
        ("lack of memory", 'if not known and "not enough memory" not in str(error):', "if not known:",
         DAMAGE),
        ("lock of a parent", "    _lock = threading.RLock()\n", "", FORKS),
        ("threads of a parent", '    _forked = "torch" in sys.modules\n', "", FORKS),
        ("autocast of the caller", "if torch.is_autocast_enabled(kind):", NEVER, f"{STATE}::test_states"),
        ("function modes of the caller", "if torch._C._len_torch_function_stack():", NEVER,
         f"{STATE}::test_states"),
        ("dispatch modes of the caller", "if torch._C._len_torch_dispatch_stack():", NEVER,
         f"{STATE}::test_states"),
        ("inference mode of the caller", "        stack.enter_context(torch.inference_mode(False))\n", "",
         f"{STATE}::test_states"),
        ("precision of products", '    torch.set_float32_matmul_precision("highest")\n', "",
         f"{STATE}::test_products_are_in_full_precision"),
    ),
]
