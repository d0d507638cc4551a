"""Mutations of the files beside the folders of the package."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

CODER = "test_entropy_coder.py"
DAMAGE = "engine/test_damage.py"
INPUTS = "pictures/test_inputs.py"
INVALID = "format/test_invalid.py"
PILLOW = "integrations/test_pillow.py"
REGIONS = "engine/test_regions.py"
STATE = "test_state.py"

_TABLE_SIZE = "if f.ndim != 1 or not 2 <= f.size <= 1 << 16:"
_FREQUENCIES = "if f.dtype != np.int64 or f.min() < 1 or int(f.sum()) != 1 << PRECISION:"

MUTATIONS = [
    *of(
        "limits.py",
        ("MAX_SIDE", "if max(height, width) > MAX_SIDE:", NEVER, INVALID),
        ("MAX_SIDE of a picture", "        check_side(height, width)\n", "", INPUTS),
        ("max_pixels", "if height * width > self.max_pixels:", NEVER, f"{INPUTS} {INVALID}"),
        ("max_pixels of 0", "if number < 1:", NEVER, f"{REGIONS}::test_limits_that_are_none"),
        ("max_tile_pixels", "if height * width > self.max_tile_pixels:", NEVER, f"{REGIONS}::test_limits"),
        ("pixels held at the same time", "if height * width > most:", NEVER,
         f"{REGIONS}::test_tiles_that_are_held_at_the_same_time_are_limited"),
        ("max_pixels that is no integer", "        if isinstance(value, bool):", "        if False:",
         f"{STATE}::test_what_is_no_integer"),
    ),
    *of(
        "entropy_coder.py",
        ("entries of a table", _TABLE_SIZE, "if f.ndim != 1:", CODER),
        ("largest table", _TABLE_SIZE, "if f.ndim != 1 or not 2 <= f.size:", CODER),
        ("frequencies of 0", _FREQUENCIES, _FREQUENCIES.replace("f.min() < 1 or ", ""), CODER),
        ("sum of frequencies", _FREQUENCIES, "if f.dtype != np.int64 or f.min() < 1:", CODER),
        ("lowest symbol of a table", "if abs(self.lowest) > 1 << 20:", NEVER,
         "model/test_weights.py::test_tables_fit_the_model_and_their_frequencies"),
        ("stable sort", 'np.argsort(indexes, kind="stable")', "np.argsort(indexes)",
         f"{CODER}::test_bytes_never_change"),
        ("table of the flag", "_FLAG = np.array([(1 << PRECISION) - (1 << 14), 1 << 14])",
         "_FLAG = np.array([1 << 23, 1 << 23])", "model/test_oracle.py::test_odd_sizes_and_tiles"),
        ("whole words", "if len(payload) % 4:", NEVER, CODER),
        ("shortest escape", "if place and not digits.all():", NEVER, CODER),
        ("escape without end", 'raise FormatError("an escaped symbol is too large")', "return values", CODER),
        ("digits of an escape", "_ESCAPE_DIGITS = 4", "_ESCAPE_DIGITS = 5", CODER),
        ("impossible codes", "except BaseException as error:", "except ValueError as error:", DAMAGE),
        ("exhausted coder", "if not self._coder.maybe_exhausted():", NEVER, CODER),
    ),
    *of(
        "api.py",
        ("relative names of weights files", "        name = os.path.abspath(name)", "        pass",
         f"{STATE}::test_weights_that_are_written_again"),
        ("weights files that changed", "        version = (about.st_mtime_ns, about.st_size)",
         "        version = None", f"{STATE}::test_weights_that_are_written_again"),
    ),
    *of(
        "CodecImagePlugin.py",
        ("Pillow's limit", "limits = Limits(max_pixels=self.width * self.height)", "limits = Limits()",
         PILLOW),
        ("errors in opening", "except CodecError as error:\n            # Not a",
         "except OSError as error:\n            # Not a", PILLOW),
        ("errors in decoding", "samples = decompress(self._read(), limits=limits)\n        except CodecError",
         "samples = decompress(self._read(), limits=limits)\n        except OSError", PILLOW),
        ("verify in Pillow", "                verify(self._read())\n", "                pass\n", PILLOW),
        ("deep samples as they are", "if depth is not None and int(np.asarray(im).max()) >> depth:", NEVER,
         PILLOW),
        ("lossless in Pillow", 'if "lossless" in asked:', NEVER, f"{PILLOW}::test_there_is_no_lossless_mode"),
        ("append in Pillow", 'if "append" in asked:', NEVER, f"{PILLOW}::test_several_frames"),
        ("several frames in Pillow", "if frames > 1:", NEVER, f"{PILLOW}::test_several_frames"),
        ("unknown options of Pillow", "if unknown:", NEVER, f"{PILLOW}::test_unknown_options_are_said"),
    ),
]
