"""The mutations of `tests.support.mutation_check`. Each removes a check, a limit or a bound.

The list contains `os.fsync`, because a test can check that it is called. No test can check that the
data reaches the disk. The list does not contain `nan_to_num` in `codec.engine.decoding`: C++ does
not define which integer a NaN becomes, and common processors also make it 0.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One edit of one file that makes the package worse."""

    name: str
    file: str
    """Path below `codec/`."""
    old: str
    """Text to replace. It occurs exactly once in the file."""
    new: str
    targets: tuple[str, ...]
    """Tests below `tests/`, one of which must fail."""


ALPHA = "pictures/test_kinds.py::test_lost_alpha_is_opaque_and_masked"
BIT_DEPTH = " ".join(
    f"pictures/test_kinds.py::{name}" for name in ("test_wrong_bit_depths", "test_bit_depth_is_seen_or_given")
)
BOMBS = "engine/test_bombs.py::test_frames_in_stored_tiles"
CODER = "test_entropy_coder.py"
DAMAGE = "engine/test_damage.py"
EXACT = "model/test_exact.py"
EXTREMES = "model/test_extremes.py"
FILES = "pictures/test_atomic.py"
FORKS = "integrations/test_pillow.py::test_a_fork_in_the_middle_of_a_call"
INPUTS = "pictures/test_inputs.py"
INVALID = "format/test_invalid.py"
LAYOUT = "format/test_layout.py"
LIES = "format/test_lies.py"
PICTURES = "pictures/test_files.py::test_limits_of_files"
PILLOW = "integrations/test_pillow.py"
RASTER = " ".join(
    f"pictures/test_files.py::{name}" for name in (
        "test_broken_uncompressed_files", "test_arrays_that_are_no_pictures",
        "test_a_file_that_is_cut_short_while_it_is_read",
    )
)
REGIONS = "engine/test_regions.py"
RESIDUAL = "coding/test_residual.py"
ROWS = "format/test_rows.py"
DATASET = "data/test_dataset.py"
HOSTILE_SETS = "data/test_hostile.py"
WEIGHTS = "model/test_weights.py"


def _of(file: str, *rows: tuple[str, str, str, str]) -> list[Mutation]:
    """Mutations of one file, from rows of name, old text, new text and targets with spaces."""
    return [Mutation(name, file, old, new, tuple(targets.split())) for name, old, new, targets in rows]


_NEVER = "if False:"
_SIGNATURE = "if not SIGNATURE.startswith(signature) or not signature:"
_PAYLOAD_CRC = "if zlib.crc32(payload) != entry.payload_crc:"
_TABLE_SIZE = "if f.ndim != 1 or not 2 <= f.size <= 1 << 16:"
_FREQUENCIES = "if f.dtype != np.int64 or f.min() < 1 or int(f.sum()) != 1 << PRECISION:"
_REGION = (
    "if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:"
)
_TENSOR_RANGE = "if not bool(((tensor >= 0) & (tensor <= 1)).all()):"
_POWERS = "if not bool((torch.frexp(entropy.scale)[0] == 0.5).all() and (entropy.scale >= 1).all()):"

MUTATIONS = [
    *_of(
        "format/header.py",
        ("header CRC", 'if zlib.crc32(front[:end]) != int.from_bytes(front[end:], "little"):', _NEVER,
         DAMAGE),
        ("MAX_HEADER in writing", "if len(body) > limits.MAX_HEADER:", _NEVER, DAMAGE),
        ("MAX_HEADER in reading", "if length > limits.MAX_HEADER:", _NEVER, DAMAGE),
        ("signature", _SIGNATURE, "if not signature:", INVALID),
        ("empty file", _SIGNATURE, "if not SIGNATURE.startswith(signature):", INVALID),
        ("truncated after the signature", "if len(data) <= len(SIGNATURE):", _NEVER, INVALID),
        ("version", "if version != VERSION:", _NEVER, DAMAGE),
        ("truncated in the length", "if not any(byte < 0x80 for byte in field) and len(field) < 5:", _NEVER,
         INVALID),
        ("truncated in the header", "if len(data) < end + 4:", _NEVER, INVALID),
        ("header longer than its fields", "if reader.position != length:", _NEVER, INVALID),
        ("mode bits", "if mode >= 2 * _RESIDUAL or", "if mode > 2 * _RESIDUAL or",
         "format/test_lies.py::test_what_no_version_knows"),
        ("residual of stored tiles", " or (stored and mode & _RESIDUAL):", ":", INVALID),
        ("step 0", "not 1 <= step < 1 << depth:", "not step < 1 << depth:", INVALID),
        ("step over the samples", "not 1 <= step < 1 << depth:", "not 1 <= step <= 1 << depth:", INVALID),
        ("empty width", "if not width or not height:", "if not height:", DAMAGE),
        ("empty height", "if not width or not height:", "if not width:", DAMAGE),
        ("MAX_SIDE of a file", "    limits.check_side(height, width)\n", "", INVALID),
        ("depth 8", "not 9 <= depth <= 16:", "not 8 <= depth <= 16:", INVALID),
        ("depth 17", "not 9 <= depth <= 16:", "not 9 <= depth <= 17:", INVALID),
        ("source 0", "not 1 <= source < len(Source):", "not 0 <= source < len(Source):", INVALID),
        ("source 5", "not 1 <= source < len(Source):", "not 1 <= source:", INVALID),
        ("level", "if level > MAX_LEVEL:", _NEVER, INVALID),
        ("tile side 0", "if not 0 < tile_size <= limits.MAX_TILE_SIDE:",
         "if not tile_size <= limits.MAX_TILE_SIDE:", INVALID),
        ("MAX_TILE_SIDE", "if not 0 < tile_size <= limits.MAX_TILE_SIDE:", "if not 0 < tile_size:", INVALID),
        ("MAX_TILES", "if count > limits.MAX_TILES:", _NEVER, INVALID),
        ("no metadata", "if not 1 <= count <= len(METADATA_KINDS):",
         "if not count <= len(METADATA_KINDS):", INVALID),
        ("much metadata", "if not 1 <= count <= len(METADATA_KINDS):", "if not 1 <= count:", LIES),
        ("kind of metadata", "if section.kind not in METADATA_KINDS:", _NEVER, INVALID),
        ("order of metadata", "section.kind <= sections", "section.kind == sections", INVALID),
        ("metadata twice", "section.kind <= sections", "section.kind < sections", INVALID),
        ("MAX_METADATA in reading", "if section.size > limits.MAX_METADATA:", _NEVER, INVALID),
        ("empty metadata", "if not 0 < section.length <= section.size:", "if section.length > section.size:",
         "format/test_lies.py::test_metadata_without_a_payload"),
        ("metadata longer than its content", "if not 0 < section.length <= section.size:",
         "if not section.length:", INVALID),
    ),
    *_of(
        "format/container.py",
        *[
            (f"payload CRC of {kind}", _PAYLOAD_CRC, f"{_PAYLOAD_CRC[:-1]} and what[0] != {kind[0]!r}:", test)
            for kind, test in (
                ("tiles", INVALID), ("residual", RESIDUAL), ("alpha", ALPHA), ("metadata", INVALID),
            )
        ],
        ("verify: metadata", "            self.metadata_payload(number)\n", "            pass\n", INVALID),
        ("verify: tiles", "            self.payload(tile)\n", "", INVALID),
        ("verify: alpha", "            if self.header.alpha:\n                self.alpha_payload(tile)\n", "",
         ALPHA),
        ("verify: residual",
         "            if self.header.residual:\n                self.residual_payload(tile)\n", "", RESIDUAL),
        ("truncated payload", "if len(payload) < entry.length:", _NEVER,
         "pictures/test_files.py::test_damaged_metadata_is_named"),
        ("truncated file", "if complete and len(data) < file.end:", _NEVER, f"{INVALID} {LIES}"),
        ("trailing bytes", "if len(data) > file.end:", _NEVER, DAMAGE),
    ),
    *_of(
        "format/fields.py",
        ("field beyond the header", "if count > len(self.data) - self.position:", _NEVER, INVALID),
        ("shortest varint", "if index and not byte:", _NEVER, LIES),
        ("five bytes of a varint", "for index in range(5):", "for index in range(6):", INVALID),
    ),
    *_of(
        "limits.py",
        ("MAX_SIDE", "if max(height, width) > MAX_SIDE:", _NEVER, INVALID),
        ("MAX_SIDE of a picture", "        check_side(height, width)\n", "", INPUTS),
        ("max_pixels", "if height * width > self.max_pixels:", _NEVER, f"{INPUTS} {INVALID}"),
        ("max_pixels of 0", "if value < 1:", _NEVER, REGIONS),
        ("max_pixels that is no integer",
         "if isinstance(value, bool) or not isinstance(value, int):", _NEVER, REGIONS),
    ),
    *_of(
        "coding/stored.py",
        ("a tie is stored as it is", "if len(packed) < len(raw)", "if len(packed) <= len(raw)", LAYOUT),
        ("payload longer than its content", "if len(payload) > size:", _NEVER, INVALID),
        ("content size of a frame", "if zstandard.get_frame_parameters(payload).content_size != size:",
         _NEVER, BOMBS),
        ("extra data", "allow_extra_data=False", "allow_extra_data=True", BOMBS),
        ("errors of zstd", "except zstandard.ZstdError as error:", "except KeyError as error:", INVALID),
        ("depth of samples", "    if int(samples.max()) >> depth:", "    if False:", INVALID),
        ("content CRC of stored tiles", "    _check(raw, content_crc, what)\n", "", INVALID),
        ("content CRC of alpha", "    _check(to_bytes(alpha), content_crc, what)\n", "", INVALID),
        ("empty alpha", "if not len(payload):", _NEVER, INVALID),
        ("filter number", "if payload[0] >= _FILTERS:", _NEVER, INVALID),
        ("depth of alpha", "if depth < 16 and int(alpha.max()) >> depth:", _NEVER, INVALID),
    ),
    *_of(
        "format/metadata.py",
        ("MAX_METADATA in writing", "if len(value) > limits.MAX_METADATA:", _NEVER,
         "pictures/test_files.py::test_metadata_given_to_compress"),
    ),
    *_of(
        "engine/reading.py",
        ("on_error", 'if on_error not in ("raise", "conceal"):', _NEVER, REGIONS),
        ("region before the picture", _REGION, _REGION.replace("min(top, left) < 0 or ", ""), REGIONS),
        ("empty region", _REGION, _REGION.replace("min(rows, columns) < 1 or ", ""), REGIONS),
        ("region below the picture", _REGION, _REGION.replace("top + rows > height or ", ""), REGIONS),
        ("region beside the picture", _REGION, _REGION.replace(" or left + columns > width", ""), REGIONS),
        ("region of integers", "operator.index(value) for value", "int(value) for value", REGIONS),
        ("max_pixels of a region", "    limits.check(part.height, part.width)\n", "", REGIONS),
        ("all payloads first", "        file.check_payloads()\n", "        pass\n", INVALID),
        ("bytes only", "if not isinstance(data, (bytes, bytearray, memoryview)):", _NEVER, INPUTS),
    ),
    *_of(
        "coding/latents.py",
        ("symbols CRC", "if crc_of(tile) != crc:", _NEVER, INVALID),
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
    *_of(
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
        ("CRC of a residual's symbols", "if crc_of([differences, residual]) != content_crc:", _NEVER,
         RESIDUAL),
    ),
    *_of(
        "entropy_coder.py",
        ("entries of a table", _TABLE_SIZE, "if f.ndim != 1:", CODER),
        ("largest table", _TABLE_SIZE, "if f.ndim != 1 or not 2 <= f.size:", CODER),
        ("frequencies of 0", _FREQUENCIES, _FREQUENCIES.replace("f.min() < 1 or ", ""), CODER),
        ("sum of frequencies", _FREQUENCIES, "if f.dtype != np.int64 or f.min() < 1:", CODER),
        ("whole words", "if len(payload) % 4:", _NEVER, CODER),
        ("shortest escape", "if place and not digits.all():", _NEVER, CODER),
        ("escape without end", 'raise FormatError("an escaped symbol is too large")', "return values", CODER),
        ("digits of an escape", "_ESCAPE_DIGITS = 4", "_ESCAPE_DIGITS = 5", CODER),
        ("impossible codes", "except BaseException as error:", "except ValueError as error:", DAMAGE),
        ("exhausted coder", "if not self._coder.maybe_exhausted():", _NEVER, CODER),
    ),
    *_of(
        "model/quantization.py",
        ("clamped symbols", "torch.round(values).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)",
         "torch.round(values)", EXTREMES),
    ),
    *_of(
        "model/exact.py",
        ("proof of exactness", "if not largest < _EXACT_BELOW:", _NEVER, EXACT),
        ("activations are clamped", "round_to_grid(x, ACTIVATION_BITS).clamp_(-LIMIT, LIMIT)",
         "round_to_grid(x, ACTIVATION_BITS)", EXTREMES),
        ("residuals are clamped", "return x.clamp_(-LIMIT, LIMIT) if", "return x if", EXTREMES),
    ),
    *_of(
        "model/entropy_model.py",
        ("hyper-latents of a file", "self.up_32(z_hat.clamp(-LIMIT, LIMIT))", "self.up_32(z_hat)", EXTREMES),
        ("hyper-latents with quality", "hyper = to_grid(hyper) if self.frozen else hyper", "pass", EXTREMES),
        ("latents that the context sees", "return to_grid(x) if self.frozen else x", "return x", EXTREMES),
        ("tables of quality", "nn.Parameter(table.clamp(-LIMIT, LIMIT)", "nn.Parameter(table", EXACT),
    ),
    *_of(
        "model/config.py",
        ("range of a configuration", "not 0 < value <= 4096", "value < 1", WEIGHTS),
        ("empty configuration", "not 0 < value <= 4096", "value > 4096", WEIGHTS),
        ("groups of latents", "if self.latents % 4:", _NEVER, WEIGHTS),
        ("widths", "if self.width_8 > 192 or max(", "if max(", WEIGHTS),
        ("widths at 1/16", "self.width_8 > 192 or max(self.width_16, self.latents) > 4 * self.width_8",
         "self.width_8 > 192", WEIGHTS),
        ("unknown fields", "        if unknown:\n", "        if False:\n", WEIGHTS),
    ),
    *_of(
        "model/weights.py",
        ("weights of 32 bits", "if not bool((x.abs() < 2**31).all()):", _NEVER, WEIGHTS),
        ("only frozen models are written", "if not model.entropy_model.frozen:", _NEVER, WEIGHTS),
        ("dead zone", "if not 0 <= dead_zone <= LARGEST_DEAD_ZONE:", _NEVER, WEIGHTS),
        ("lambdas", "if not all(0 < value < math.inf for value in lambdas):", _NEVER, WEIGHTS),
        ("architecture", 'if header["architecture"] != ARCHITECTURE:', _NEVER, WEIGHTS),
        ("size of the model", "if needed > weights:", _NEVER, WEIGHTS),
        ("scales are powers of two", _POWERS,
         "if not bool((entropy.scale >= 1).all()):", WEIGHTS),
        ("scales of 1 at least", _POWERS,
         "if not bool((torch.frexp(entropy.scale)[0] == 0.5).all()):", WEIGHTS),
        ("number of tables", "if len(tables) != SCALES + QUALITY_ANCHORS * model.config.hyper_latents:",
         _NEVER, WEIGHTS),
        ("finite weights", "if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):", _NEVER,
         WEIGHTS),
        ("tables cover their frequencies", "if ends[-1] != frequencies.size:", _NEVER, WEIGHTS),
    ),
    *_of(
        "model/registry.py",
        ("hash of shipped weights", "if hashlib.sha256(data).hexdigest() != self.sha256:", _NEVER, WEIGHTS),
        ("model of a file", "if entry.id == model_id:", "if True:", INVALID),
    ),
    *_of(
        "engine/decoding.py",
        ("pixels are clamped", "torch.nan_to_num(x_hat).clamp(0, 1)", "torch.nan_to_num(x_hat)", EXTREMES),
    ),
    *_of(
        "pictures/picture.py",
        ("max_pixels in encoding", "    limits.check(height, width)\n", "", INPUTS),
        ("max_pixels of a Picture", "        limits.check(image.height, image.width)\n", "", PICTURES),
        ("empty picture", "if not height or not width:", _NEVER, INPUTS),
        ("kind of dtype", 'if array.dtype.kind != "u" or array.dtype.itemsize > 2:',
         "if array.dtype.itemsize > 2:", INPUTS),
        ("size of dtype", 'if array.dtype.kind != "u" or array.dtype.itemsize > 2:',
         'if array.dtype.kind != "u":', INPUTS),
        ("axes of an array", "elif array.ndim != 3 or array.shape[2] not in _SAMPLES:",
         "elif array.shape[2] not in _SAMPLES:", INPUTS),
        ("channels of an array", "elif array.ndim != 3 or array.shape[2] not in _SAMPLES:",
         "elif array.ndim != 3:", INPUTS),
        ("channels of a tensor", "if tensor.dim() != 3 or not 1 <= tensor.shape[0] <= 4:",
         "if tensor.dim() != 3:", INPUTS),
        ("tensor below 0", _TENSOR_RANGE, "if not bool((tensor <= 1).all()):", INPUTS),
        ("tensor above 1", _TENSOR_RANGE, "if not bool((tensor >= 0).all()):", INPUTS),
        ("tensor of NaN", _TENSOR_RANGE, "if bool(((tensor < 0) | (tensor > 1)).any()):", INPUTS),
        ("dtype of a tensor", 'elif str(tensor.dtype) in ("torch.uint8", "torch.uint16"):', "elif True:",
         INPUTS),
        ("bit_depth of 8 bits", "if bit_depth not in (None, 8):", _NEVER, BIT_DEPTH),
        ("bit_depth of 16 bits", "if bit_depth is not None and not 9 <= bit_depth <= 16:", _NEVER, BIT_DEPTH),
        ("samples over bit_depth", "if bit_depth is not None and used > bit_depth:", _NEVER, BIT_DEPTH),
    ),
    *_of(
        "pictures/reading.py",
        ("max_pixels of an uncompressed file", "    limits.check(found.shape[0], found.shape[1])\n", "",
         PICTURES),
        ("max_pixels of a picture file", "            limits.check(image.height, image.width)\n", "",
         PICTURES),
        (".cae file to compress", "if file.read(len(SIGNATURE)) == SIGNATURE:", _NEVER, PILLOW),
    ),
    *_of(
        "CodecImagePlugin.py",
        ("Pillow's limit", "limits = Limits(max_pixels=self.width * self.height)", "limits = Limits()",
         PILLOW),
        ("errors in opening", "except CodecError as error:\n            # Not a",
         "except OSError as error:\n            # Not a", PILLOW),
        ("errors in decoding", "samples = decompress(self._read(), limits=limits)\n        except CodecError",
         "samples = decompress(self._read(), limits=limits)\n        except OSError", PILLOW),
        ("verify in Pillow", "                verify(self._read())\n", "                pass\n", PILLOW),
        ("deep samples as they are", "if depth is not None and int(np.asarray(im).max()) >> depth:", _NEVER,
         PILLOW),
    ),
    *_of(
        "pictures/raster.py",
        ("uncompressed file cut short", "if size < needed:", _NEVER, RASTER),
        ("cut short while it is read", "if len(data) < count:",
         "if _read_into(file, view) < 0:", RASTER),
        ("Fortran order", "if fortran and len(shape) > 1:", _NEVER, RASTER),
        ("dtype of .npy", 'if dtype.kind != "u" or dtype.itemsize > 2:', _NEVER, RASTER),
        ("empty .npy", "if any(type(length) is not int or length < 1 for length in shape):", _NEVER, RASTER),
        ("empty .pgm", "if not width or not height:", _NEVER, RASTER),
    ),
    *_of(
        "pictures/atomic.py",
        ("renamed into place", "        os.replace(name, target)\n",
         "        target.write_bytes(Path(name).read_bytes())\n        os.unlink(name)\n",
         "cli/test_interruptions.py::test_killed_at_every_step test_faults.py::test_a_write_that_fails"),
        ("nothing is left behind", "            os.unlink(name)\n", "            pass\n", FILES),
        ("Ctrl-C leaves nothing behind", "except BaseException:  # also Ctrl-C", "except Exception:", FILES),
        ("pipes are not replaced", "if target.exists() and not target.is_file():", _NEVER, FILES),
        ("fsync", "            os.fsync(file.fileno())\n", "", FILES),
    ),
    *_of(
        "format/readable.py",
        ("one thread reads at a time", "        with self._lock:", "        if self._lock:", FILES),
    ),
    *_of(
        "engine/goal.py",
        ("quality", "if not 0 <= quality <= 100:  # also true for NaN", "if quality < 0 or quality > 100:",
         INPUTS),
    ),
    *_of(
        "api.py",
        ("threads", "if threads is not None and threads < 1:", _NEVER, INPUTS),
    ),
    *_of(
        "engine/running.py",
        ("lack of memory", 'if not known and "not enough memory" not in str(error):', "if not known:",
         DAMAGE),
        ("lock of a parent", "    _lock = threading.RLock()\n", "", FORKS),
        ("threads of a parent", '    _forked = "torch" in sys.modules\n', "", FORKS),
    ),
    *_of(
        "format/rows.py",
        ("another level as a row", "(header.model_id, header.level) == (self.model_id, self.level)",
         "header.model_id == self.model_id", ROWS),
        ("another model as a row", "(header.model_id, header.level) == (self.model_id, self.level)",
         "header.level == self.level", ROWS),
        ("rows of no payload", "if len(row) < start + 4:", _NEVER, ROWS),
        ("needless zeros of a row", "if payload != _without_zeros(payload + bytes(-len(payload) % 4)):",
         _NEVER, ROWS),
        ("the shared size, stated", "if (height, width) == (self.height, self.width):", _NEVER, ROWS),
        ("a size in its long form", "or (not other and max(height, width) <= _SMALL)", "", ROWS),
        ("size of a row", "if not min(height, width) > 0 or max(height, width) > TILE_SIZE:", _NEVER, ROWS),
        ("kind of a row", "if row[0] & ~0b111 != _LONG:", _NEVER, ROWS),
        ("version of rows", 'if fields.get("version") != VERSION:', _NEVER, ROWS),
    ),
    *_of(
        "data/shards.py",
        ("pages that are elsewhere", "self._trusted[group] = zlib.crc32(begin) == self._marks[group]",
         "self._trusted[group] = True", f"{HOSTILE_SETS}::test_rows_that_moved_are_found"),
        ("rows without a picture", "        if data is None:", "        if False:",
         f"{HOSTILE_SETS}::test_a_missing_picture_does_not_hide_the_others"),
        ("files in use stay open", "return os.pread(descriptor.number,",
         "del descriptor; return os.pread(_descriptor(self).number,",
         f"{HOSTILE_SETS}::test_threads_read_what_they_ask_for"),
        ("checksums of labels", "page_checksum_verification=checked", "page_checksum_verification=False",
         f"{HOSTILE_SETS}::test_flipped_labels_and_names_are_noticed"),
    ),
    *_of(
        "data/layout.py",
        ("version of a dataset", 'if fields.pop("version", None) != VERSION:',
         'if fields.pop("version", None) and False:',
         f"{DATASET}::test_hostile_metadata_is_refused_by_name"),
        ("types of settings", '        _check_types(found, "the schema\'s metadata")', "        pass",
         f"{HOSTILE_SETS}::test_settings_that_lie"),
    ),
    *_of(
        "data/packing.py",
        ("other settings", "        if theirs != self.settings:", "        if False:",
         f"{DATASET}::test_a_set_packed_otherwise_is_not_mixed"),
        ("another source",
         "if shard.account.source != self.source.digest(start, start + self.settings.shard_rows):", _NEVER,
         f"{DATASET}::test_a_source_that_changed_is_noticed"),
        ("other classes",
         "not shard.schema.equals(wanted) or {**shard.features, **self.source.features} != shard.features:",
         "False:", f"{HOSTILE_SETS}::test_going_on_with_something_else_is_refused"),
        ("damaged .cae files of a source", "                file.check_payloads()", "                pass",
         f"{DATASET}::test_bad_pictures_are_listed"),
        ("what a killed process left", "                left.unlink()", "                pass",
         f"{DATASET}::test_killed_and_packed_again_it_ends_the_same"),
        ("bad values", "                    self._check_columns(item)", "                    pass",
         f"{HOSTILE_SETS}::test_bad_values_of_columns_are_listed"),
        ("iterables that go on", "                self._check_end(number, account)", "                pass",
         f"{HOSTILE_SETS}::test_iterables_that_changed_are_noticed"),
    ),
    *_of(
        "data/sums.py",
        ("a lock on each shard", "    except OSError:\n        return False",
         "    except OSError:\n        return True",
         f"{DATASET}::test_two_at_once_do_not_write_one_shard"),
        ("digests of new shards", "        if name in sums and not fresh:", "        if name in sums:",
         f"{HOSTILE_SETS}::test_a_shard_that_was_deleted_and_packed_again_is_whole"),
    ),
    *_of(
        "data/tars.py",
        ("tars that are cut", "        _check_end(path, end)", "        pass",
         f"{HOSTILE_SETS}::test_tars_that_are_cut_or_damaged_are_refused"),
    ),
    *_of(
        "data/dataset.py",
        ("shards that are missing", "    if len(there) < wanted and not partial:", "    if False:",
         f"{DATASET}::test_an_error_leaves_no_half_shard"),
        ("shards of two datasets", "if shard.settings != first.settings or not alike:", _NEVER,
         f"{DATASET}::test_sets_that_are_none"),
        ("shards that are there twice", "        if other is not shard:", "        if False:",
         f"{HOSTILE_SETS}::test_copied_and_renamed_shards"),
    ),
    *_of(
        "data/unpacking.py",
        ("names that lead upwards", 'if not safe or not parts or ".." in parts or',
         "if not safe or not parts or",
         f"{DATASET}::test_names_do_not_lead_out_of_the_folder"),
        ("absolute names", 'and ":" not in path and not pure.is_absolute()', 'and ":" not in path',
         f"{DATASET}::test_names_do_not_lead_out_of_the_folder"),
    ),
]
