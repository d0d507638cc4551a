"""Mutations of `codec/pictures`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

BIT_DEPTH = " ".join(
    f"pictures/test_kinds.py::{name}" for name in ("test_wrong_bit_depths", "test_bit_depth_is_seen_or_given")
)
ATOMIC = "pictures/test_atomic.py"
COLOUR = "pictures/test_colour.py"
CONTAINERS = "pictures/test_containers.py"
FITS = "pictures/test_fits.py"
FORMATS = "pictures/test_formats.py"
INPUTS = "pictures/test_inputs.py"
JPEG2000 = "pictures/test_jpeg2000.py"
PICTURES = "pictures/test_files.py"
STREAMS = "pictures/test_streams.py"
SYSTEMS = "pictures/test_file_systems.py"
TEXTS = "pictures/test_texts.py"
TIFF = "pictures/test_tiff.py"
LIMITS = f"{PICTURES}::test_limits_of_files"
REFUSED = f"{INPUTS}::test_refused_pictures"

_DTYPE = 'if dtype.kind == "u" and dtype.itemsize <= 2:'
_CHANNELS = "if tensor.dim() != 3 or not 1 <= tensor.shape[0] <= 4:"
_TENSOR_RANGE = "if not bool(((tensor >= 0) & (tensor <= 1)).all()):"
_EMPTY_NPY = """    if not height or not width:
        raise InvalidImage(f"the picture is empty: {height}×{width}")
    return Layout(file.tell()"""
_EXACT_TEXT = r'return content if _text(tag, content) == text and "\0" not in text else None'
_FSYNC = """        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
"""

MUTATIONS = [
    *of(
        "pictures/picture.py",
        ("max_pixels in encoding", "    limits.check(height, width)\n", "", INPUTS),
        ("max_pixels of a Picture", "        limits.check(image.height, image.width)\n", "", LIMITS),
        ("empty picture", "if not height or not width:", NEVER, REFUSED),
        ("kind of dtype", _DTYPE, "if dtype.itemsize <= 2:", REFUSED),
        ("size of dtype", _DTYPE, 'if dtype.kind == "u":', REFUSED),
        ("axes of an array", "elif len(shape) != 3 or not shape[2]:", "elif not shape[2]:", REFUSED),
        ("channels of an array", "        if not bands_can_be_chosen:\n", "        if False:\n", REFUSED),
        ("kinds of tensors", "if str(value) != wanted:", NEVER, REFUSED),
        ("channels of a tensor", _CHANNELS, "if tensor.dim() != 3:", REFUSED),
        ("tensor below 0", _TENSOR_RANGE, "if not bool((tensor <= 1).all()):", REFUSED),
        ("tensor above 1", _TENSOR_RANGE, "if not bool((tensor >= 0).all()):", REFUSED),
        ("tensor of NaN", _TENSOR_RANGE, "if bool(((tensor < 0) | (tensor > 1)).any()):", REFUSED),
        ("dtype of a tensor", 'elif str(tensor.dtype) in ("torch.uint8", "torch.uint16"):', "elif True:",
         REFUSED),
        ("bit_depth of 8 bits", "if bit_depth not in (None, 8):", NEVER, BIT_DEPTH),
        ("bit_depth of 16 bits", "if bit_depth is not None and not 9 <= bit_depth <= 16:", NEVER, BIT_DEPTH),
        ("samples over bit_depth", "if bit_depth is not None and used > bit_depth:", NEVER, BIT_DEPTH),
    ),
    *of(
        "pictures/decoded.py",
        ("many bands", "if height * width * bands > 4 * limits.max_pixels:", NEVER,
         f"{TIFF}::test_too_many_samples"),
        ("a band that is not there", "if max(bands) >= count:", NEVER,
         f"{INPUTS}::test_bands_that_are_no_choice"),
    ),
    *of(
        "pictures/reading.py",
        ("max_pixels of an uncompressed file", "        limits.check(found.shape[0], found.shape[1])\n", "",
         LIMITS),
        ("max_pixels of a picture file", "        limits.check(image.height, image.width)\n", "", LIMITS),
        (".cae file to compress", "if file.read(len(SIGNATURE)) == SIGNATURE:", NEVER,
         "integrations/test_pillow.py::test_cae_files_are_no_pictures_to_compress"),
        ("previews are refused", "        further.check_pillow_reads_the_picture(file, head)\n", "",
         "pictures/test_further.py::test_what_pillow_would_reduce_or_replace"),
    ),
    *of(
        "pictures/formats.py",
        ("formats of the list only", "PIL.Image.open(file, formats=FORMATS)", "PIL.Image.open(file)",
         FORMATS),
        ("what a file is", "    if reason:\n", "    if False:\n", f"{FORMATS}::test_other_files_are_named"),
    ),
    *of(
        "pictures/raster.py",
        ("uncompressed file cut short", "if size < needed:", NEVER,
         f"{PICTURES}::test_broken_uncompressed_files"),
        ("cut short while it is read", "if len(data) < count:", NEVER,
         f"{PICTURES}::test_a_file_that_is_cut_short_while_it_is_read"),
        ("Fortran order", "if fortran and len(shape) > 1:", NEVER,
         f"{PICTURES}::test_arrays_that_are_no_pictures"),
        ("dtype of .npy", "    check_dtype(dtype)\n", "", f"{PICTURES}::test_arrays_that_are_no_pictures"),
        ("empty .npy", _EMPTY_NPY, "    return Layout(file.tell()",
         f"{PICTURES}::test_arrays_that_are_no_pictures"),
    ),
    *of(
        "pictures/tiff.py",
        ("signed samples of TIFF", "    if 2 in formats:\n", "    if False:\n",
         f"{TIFF}::test_numbers_that_are_no_samples"),
        ("bands of TIFF without a meaning", "if not known and bands is None:", NEVER,
         f"{TIFF}::test_bands_are_named_or_chosen"),
        ("memory that a tile of TIFF asks for", "        except MemoryError:",
         "        except ZeroDivisionError:", f"{TIFF}::test_a_tile_that_states_another_size"),
        ("colour that TIFF does not state", "and not planes and stated\n", "and not planes\n",
         f"{TIFF}::test_a_file_that_does_not_state_its_colour"),
        ("previews in TIFF", "if kind & (_REDUCED | _MASK) or", "if",
         f"{TIFF}::test_what_is_no_picture_is_named"),
        ("volumes in TIFF", "if _one(tags, 32997, 1) > 1:", NEVER,
         f"{TIFF}::test_what_is_no_picture_is_named"),
        ("camera raw", "    if found:\n", "    if False:\n", f"{TIFF}::test_what_is_no_picture_is_named"),
        ("missing strips", "if len(counts) < needed or any(", "if False and any(",
         f"{TIFF}::test_missing_strips_are_no_black_pixels"),
        ("tiles over the limit", "if math.prod(page.chunks) > 4 * limits.max_pixels:", NEVER,
         f"{TIFF}::test_too_many_samples"),
    ),
    *of(
        "pictures/jpeg2000.py",
        ("signed components", "if any(size & 0x80 for size, _, _ in components):", NEVER,
         f"{JPEG2000}::test_signed_components"),
        ("components without a meaning", "if not header.palette and bands is None and (", "if False and (",
         f"{JPEG2000}::test_components_without_a_meaning"),
        ("stated depth of gray", "            return samples >> (16 - self.depth)\n",
         "            return samples\n", f"{JPEG2000}::test_the_stated_depth"),
    ),
    *of(
        "pictures/fits.py",
        ("signed FITS", "if (bits, zero, scale) in ((16, 0, 1), (8, -128, 1)):", NEVER,
         f"{FITS}::test_what_is_refused"),
        ("scaled FITS", "if (bits, zero, scale) not in ((16, 32768, 1), (8, 0, 1)):", NEVER,
         f"{FITS}::test_what_is_refused"),
        ("BLANK of FITS", 'if "BLANK" in cards and', "if False and", f"{FITS}::test_what_is_refused"),
        ("FITS cut short", "if file.seek(0, 2) < start + needed:", NEVER, f"{FITS}::test_what_is_refused"),
        ("blocks of a FITS header", "for _ in range(_MAX_BLOCKS):", "while True:",
         f"{FITS}::test_what_is_refused"),
    ),
    *of(
        "pictures/heif.py",
        ("max_pixels of HEIC", "        limits.check(opened.size[1], opened.size[0])\n", "",
         "pictures/test_heif.py"),
    ),
    *of(
        "pictures/streams.py",
        ("names as bytes", "if isinstance(src, bytes) and _names_a_file(src):", NEVER,
         f"{STREAMS}::test_sources_that_are_refused"),
        ("files on other machines", 'if parts.netloc not in ("", "localhost"):', NEVER,
         f"{STREAMS}::test_sources_that_are_refused"),
        ("files in text mode", 'if hasattr(file, "encoding"):', NEVER,
         f"{STREAMS}::test_files_that_cannot_be_read_or_written"),
        ("uploads that fail are discarded", "            out.discard()\n", "            pass\n",
         f"{STREAMS}::test_uploads_in_parts"),
        ("files that take fewer bytes", "        rest = rest[written:]\n", "        return\n",
         f"{STREAMS}::test_destinations"),
    ),
    *of(
        "pictures/atomic.py",
        ("devices are written to", "not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or", "",
         f"{ATOMIC}::test_pipes_are_written_to_not_replaced"),
        ("/dev/stdout is not replaced", '        return {"stdout": 1, "stderr": 2}.get(name)\n',
         "        return None\n", f"{SYSTEMS}::test_standard_output_is_not_replaced"),
        ("fsync", "        os.fsync(file.fileno())\n", "        pass\n", ATOMIC),
        ("errors of fsync", _FSYNC, "        os.fsync(file.fileno())\n    except OSError:\n        pass\n",
         f"{SYSTEMS}::test_errors_of_the_disk_are_raised"),
        ("permissions that are refused", '            raise\n        _warn(f"permissions',
         '            raise\n        return\n        _warn(f"permissions',
         f"{SYSTEMS}::test_permissions_are_refused"),
        ("renamed into place", "        os.replace(name, target)\n",
         "        target.write_bytes(Path(name).read_bytes())\n        os.unlink(name)\n",
         "cli/test_interruptions.py::test_killed_at_every_step test_faults.py::test_a_write_that_fails"),
        ("renaming that is refused", "        if error.errno in _UNSUPPORTED:\n            return error\n",
         "", f"{SYSTEMS}::test_renaming_is_refused"),
        ("a copy that fails keeps the data", "        elif isinstance(error, OSError):\n",
         "        elif (_remove(name), isinstance(error, OSError))[1]:\n",
         f"{SYSTEMS}::test_a_copy_that_fails_keeps_the_data"),
        ("a new file that fails is removed",
         "        if new:\n            _remove(target)\n        elif copying",
         "        if not new and copying", SYSTEMS),
        ("nothing is left behind", "        _remove(name)\n        raise\n    if refused",
         "        raise\n    if refused", ATOMIC),
        ("Ctrl-C leaves nothing behind", "except BaseException:  # also Ctrl-C", "except Exception:", ATOMIC),
        ("files that become shorter", "        out.truncate(0)\n", "        pass\n", SYSTEMS),
        ("names of folders", 'if os.path.basename(path) in ("", os.curdir, os.pardir) or', "if",
         f"{SYSTEMS}::test_names_that_are_no_files"),
    ),
    *of(
        "pictures/colour.py",
        ("chromaticities that are none", "if not (1e-5 <= y <= 1 and 0 <= x <= 1 and x + y <= 1.001):", NEVER,
         f"{COLOUR}::test_colours_that_are_none"),
        ("code points that are no profile", " or cicp[2] != 0 or cicp[3] != 1:", ":",
         f"{COLOUR}::test_profiles_of_gray_and_of_code_points"),
    ),
    *of(
        "pictures/exif.py",
        ("texts come back exactly", _EXACT_TEXT,
         "return content", f"{TEXTS}::test_texts_that_exif_cannot_hold"),
        ("only the orientation changes", "exif[: at + 8] + one + exif[at + 10 :]",
         "exif[: at + 8] + one + one + exif[at + 12 :]",
         f"{TEXTS}::test_only_the_orientation_of_exif_changes"),
    ),
    *of(
        "pictures/metadata.py",
        ("metadata that cannot be read", "    except Exception as error:  # readers of metadata",
         "    except KeyError as error:  # readers of metadata",
         f"{CONTAINERS}::test_damaged_containers_raise_nothing"),
        ("texts that are not kept", "if texts.get(keyword) != text:", NEVER,
         f"{CONTAINERS}::test_chunks_that_are_said"),
        ("resolutions that are not kept", "not found.resolution.equals(resolution):", "False:",
         f"{TEXTS}::test_an_exif_that_exists_is_not_changed"),
    ),
    *of(
        "pictures/containers/found.py",
        ("MAX_METADATA of a picture file", "if len(value) > limits.MAX_METADATA:", NEVER,
         f"{CONTAINERS}::test_metadata_over_the_limit_is_said"),
        ("names of what is not kept", "if len(self.lost) < _MAX_NAMES:", "if True:",
         f"{CONTAINERS}::test_many_names_are_counted"),
        ("control characters", 'letter if letter.isprintable() else "�"', "letter",
         f"{CONTAINERS}::test_chunks_that_are_said"),
        ("profiles that are cut", " or not worker.eof:", ":", f"{COLOUR}::test_which_colour_counts"),
    ),
    *of(
        "pictures/containers/boxes.py",
        ("boxes that are too long", "if stop < start or stop > end:", "if stop < start:",
         f"{CONTAINERS}::test_boxes_of_impossible_lengths"),
        ("boxes that are too short", "if stop < start or stop > end:", "if stop > end:",
         f"{CONTAINERS}::test_boxes_of_impossible_lengths"),
    ),
    *of(
        "pictures/containers/jpeg.py",
        ("parts of a profile", "if sorted(profile) == list(range(1, parts + 1)):", "if True:",
         f"{CONTAINERS}::test_segments_of_jpeg"),
        ("gain maps of MPF", "any(one.is_gain_map for one in further)", "False",
         "pictures/test_further.py::test_what_follows_a_jpeg_picture"),
    ),
    *of(
        "pictures/containers/large_tags.py",
        ("tags over the limit", "            if size > limits.MAX_METADATA:", "            if False:",
         "pictures/test_large_tags.py::test_large_tags_are_named_and_not_read"),
        ("list of strips over the limit", "elif one.size > 2 * limits.MAX_METADATA:", "elif False:",
         "pictures/test_large_tags.py::test_a_list_of_strips_that_is_too_long"),
    ),
    *of(
        "pictures/containers/png.py",
        ("code points of PNG", "if len(cicp) == 4 and cicp[2] == 0 and cicp[3] <= 1:", "if len(cicp) == 4:",
         f"{COLOUR}::test_which_colour_counts"),
    ),
]
