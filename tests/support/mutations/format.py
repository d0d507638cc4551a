"""Mutations of `codec/format`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

ALPHA = "pictures/test_kinds.py::test_lost_alpha_is_opaque_and_masked"
DAMAGE = "engine/test_damage.py"
FILES = "pictures/test_files.py"
INVALID = "format/test_invalid.py"
LIES = "format/test_lies.py"
RESIDUAL = "coding/test_residual.py"
ROWS = "format/test_rows.py"
STREAMS = "pictures/test_streams.py"

_SIGNATURE = "if not SIGNATURE.startswith(signature) or not signature:"
_PAYLOAD_CRC = "if zlib.crc32(payload) != entry.payload_crc:"

MUTATIONS = [
    *of(
        "format/header.py",
        ("header CRC", 'if zlib.crc32(front[:end]) != int.from_bytes(front[end:], "little"):', NEVER,
         DAMAGE),
        ("MAX_HEADER in writing", 'limits.check_bytes(len(body), limits.MAX_HEADER, "header")', "pass",
         DAMAGE),
        ("MAX_HEADER in reading", 'limits.check_bytes(length, limits.MAX_HEADER, "header")', "pass", DAMAGE),
        ("signature", _SIGNATURE, "if not signature:", INVALID),
        ("empty file", _SIGNATURE, "if not SIGNATURE.startswith(signature):", INVALID),
        ("truncated after the signature", "if len(data) <= len(SIGNATURE):", NEVER, INVALID),
        ("version", "if version != VERSION:", NEVER, DAMAGE),
        ("truncated in the length", "if not any(byte < 0x80 for byte in field) and len(field) < 5:", NEVER,
         INVALID),
        ("truncated in the header", "if len(data) < end + 4:", NEVER, INVALID),
        ("header longer than its fields", "if reader.position != length:", NEVER, INVALID),
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
        ("level", "if level > MAX_LEVEL:", NEVER, INVALID),
        ("tile side 0", "if not 0 < tile_size <= limits.MAX_TILE_SIDE:",
         "if not tile_size <= limits.MAX_TILE_SIDE:", INVALID),
        ("MAX_TILE_SIDE", "if not 0 < tile_size <= limits.MAX_TILE_SIDE:", "if not 0 < tile_size:", INVALID),
        ("MAX_TILES", "if count > limits.MAX_TILES:", NEVER, INVALID),
        ("no metadata", "if not count:", NEVER, INVALID),
        ("much metadata", "if later > max(METADATA_KINDS) - section.kind:", NEVER, INVALID),
        ("size of CICP", 'if METADATA_KINDS[section.kind] == "cicp" and section.size != CICP_BYTES:', NEVER,
         INVALID),
        ("kind of metadata", "if section.kind not in METADATA_KINDS:", NEVER, INVALID),
        ("order of metadata", "section.kind <= sections", "section.kind == sections", INVALID),
        ("metadata twice", "section.kind <= sections", "section.kind < sections", INVALID),
        ("MAX_METADATA in reading",
         'limits.check_bytes(section.size, limits.MAX_METADATA, "metadata")', "pass", INVALID),
        ("empty metadata", "if not 0 < section.length <= section.size:", "if section.length > section.size:",
         "format/test_lies.py::test_metadata_without_a_payload"),
        ("metadata longer than its content", "if not 0 < section.length <= section.size:",
         "if not section.length:", INVALID),
    ),
    *of(
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
        ("truncated payload", "if len(payload) < entry.length:", NEVER,
         f"{FILES}::test_damaged_metadata_is_named"),
        ("truncated file", "if complete and len(data) < file.end:", NEVER, f"{INVALID} {LIES}"),
        ("trailing bytes", "if len(data) > file.end:", NEVER, DAMAGE),
    ),
    *of(
        "format/fields.py",
        ("field beyond the header", "if count > len(self.data) - self.position:", NEVER, INVALID),
        ("shortest varint", "if index and not byte:", NEVER, LIES),
        ("five bytes of a varint", "for index in range(5):", "for index in range(6):", INVALID),
    ),
    *of(
        "format/metadata.py",
        ("MAX_METADATA in writing", "limits.check_bytes(len(value), limits.MAX_METADATA, name)", "pass",
         f"{FILES}::test_metadata_given_to_compress"),
        ("bytes of code points", 'if name == "cicp" and len(value) not in (0, CICP_BYTES):', NEVER,
         "pictures/test_metadata.py::test_code_points_have_four_bytes"),
    ),
    *of(
        "format/readable.py",
        ("one thread reads at a time", "        with self._lock:", "        if self._lock:",
         "pictures/test_atomic.py::test_an_open_file_is_read_by_many_threads"),
        ("files from their position on", "self._file.seek(self._start + start)", "self._file.seek(start)",
         f"{STREAMS}::test_sources"),
        ("samples as bytes", "    if len(shape) > 1:", "    if False:",
         f"{STREAMS}::test_what_is_no_buffer_of_bytes"),
        ("numbers as bytes", 'if dtype.kind != "V" and (', "if False and (",
         f"{STREAMS}::test_what_is_no_buffer_of_bytes"),
        ("buffers with gaps", "if not view.c_contiguous:", NEVER,
         f"{STREAMS}::test_what_is_no_buffer_of_bytes"),
    ),
    *of(
        "format/rows.py",
        ("another level as a row", "(header.model_id, header.level) == (self.model_id, self.level)",
         "header.model_id == self.model_id", ROWS),
        ("another model as a row", "(header.model_id, header.level) == (self.model_id, self.level)",
         "header.level == self.level", ROWS),
        ("rows of no payload", "if len(row) < start + 4:", NEVER, ROWS),
        ("needless zeros of a row", "if payload != _without_zeros(payload + bytes(-len(payload) % 4)):",
         NEVER, ROWS),
        ("the shared size, stated", "if (height, width) == (self.height, self.width):", NEVER, ROWS),
        ("a size in its long form", "or (not other and max(height, width) <= _SMALL)", "", ROWS),
        ("size of a row", "if not min(height, width) > 0 or max(height, width) > TILE_SIZE:", NEVER, ROWS),
        ("kind of a row", "if row[0] & ~0b111 != _LONG:", NEVER, ROWS),
        ("version of rows", '        check_version(fields.get("version"))\n', "", ROWS),
    ),
]
