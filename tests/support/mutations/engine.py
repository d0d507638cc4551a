"""Mutations of `codec/engine`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

DAMAGE = "engine/test_damage.py"
EXTREMES = "model/test_extremes.py"
FORKS = "integrations/test_pillow.py::test_a_fork_in_the_middle_of_a_call"
INPUTS = "pictures/test_inputs.py"
INVALID = "format/test_invalid.py"
REGIONS = "engine/test_regions.py"
STATE = "test_state.py"

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
        ("pixels are clamped", "torch.nan_to_num(x_hat).clamp(0, 1)", "torch.nan_to_num(x_hat)", EXTREMES),
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
