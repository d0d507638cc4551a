"""Mutations of `codec/data`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

APPEND = "data/test_packing_append.py"
CELLS = "data/test_cells.py"
COLUMNS = "data/test_packing_columns.py"
DATASET = "data/test_dataset.py"
FILES = "data/test_files.py"
FOLDERS = "data/test_sources_folders.py"
HOSTILE_SETS = "data/test_hostile.py"
LATENTS = "data/test_latents.py"
OPENING = "data/test_opening.py"
PACKING = "data/test_packing_files.py"
PARQUET = "data/test_sources_parquet.py"
TARS = "data/test_sources_tars.py"

_SOURCE = (
    "if shard.account is None or shard.account.source != source.digest(start, start + settings.shard_rows):"
)
_URL = r'elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", path):'
_MEMBERS = 'clear = [one for one in pool if not _MAPS & set(re.findall("[a-z]+", one.lower()))]'
_FOLDED = 'unicodedata.normalize("NFC", name.casefold()) if self._folded else name'
_FORK = "            os.register_at_fork(after_in_child=self._clear)"

MUTATIONS = [
    *of(
        "data/reading/batches.py",
        ("latents of stored pictures", 'if output == "latents" and any(', "if False and any(",
         f"{LATENTS}::test_a_picture_without_latents_is_named"),
        ("latents of several models", "if len(self._model_ids) > 1:", NEVER,
         f"{LATENTS}::test_latents_of_several_models_are_not_mixed"),
        ("places of tiles of latents", "            whole[box.slices] = part",
         "            whole[: part.shape[0], : part.shape[1]] = part",
         f"{LATENTS}::test_pictures_of_every_kind_have_latents"),
        ("one batch of latents", "            symbols = iter(symbols_of(codec.model_for(model_id), tiles))",
         "            symbols = iter([symbols_of(codec.model_for(model_id), [tile])[0] for tile in tiles])",
         f"{LATENTS}::test_tiny_pictures_are_decoded_together"),
    ),
    *of(
        "data/reading/files.py",
        ("short reads", "while len(data) < length:", "while False:", f"{FILES}::test_short_reads"),
        ("reading without pread", "            os.lseek(self._number, start, os.SEEK_SET)\n", "",
         f"{FILES}::test_without_pread"),
        ("one thread reads without pread", "        with self._lock:  # without",
         "        if True:  # without",
         f"{HOSTILE_SETS}::test_threads_read_what_they_ask_for"),
        ("files in use stay open", "        data = opened.read(start, length)\n",
         "        opened = opened._number\n        data = os.pread(opened, length, start)\n",
         f"{HOSTILE_SETS}::test_threads_read_what_they_ask_for"),
    ),
    *of(
        "data/reading/cache.py",
        ("size of the cache", "while self.size > self.limit:", "while False:",
         f"{CELLS}::test_a_cache_is_limited_in_bytes"),
        ("values larger than the cache", "if size <= self.limit and key", "if key",
         f"{CELLS}::test_a_cache_is_limited_in_bytes"),
        ("lock of the cache after a fork", _FORK, "            pass",
         f"{CELLS}::test_a_fork_while_the_cache_is_locked"),
    ),
    *of(
        "data/reading/cells.py",
        ("heavy row groups", "if size > 2 * _LIGHT and seen > 1:", NEVER,
         f"{CELLS}::test_a_row_does_not_keep_its_row_group"),
        ("rows in order", "            if ordered:\n", "            if False:\n",
         f"{CELLS}::test_rows_in_order_are_read_once"),
        ("lock of the cells after a fork", _FORK, "            pass",
         f"{CELLS}::test_a_fork_while_the_cache_is_locked"),
    ),
    *of(
        "data/reading/shards.py",
        ("pages that are elsewhere", "self._trusted[group] = zlib.crc32(begin) == self._marks[group]",
         "self._trusted[group] = True", f"{HOSTILE_SETS}::test_rows_that_moved_are_found"),
        ("rows without a picture", "        if data is None:", "        if False:",
         f"{HOSTILE_SETS}::test_a_missing_picture_does_not_hide_the_others"),
        ("checksums of labels", "page_checksum_verification=checked", "page_checksum_verification=False",
         f"{HOSTILE_SETS}::test_flipped_labels_and_names_are_noticed"),
    ),
    *of(
        "data/layout.py",
        ("version of a dataset", 'if fields.pop("version", None) != VERSION:',
         'if fields.pop("version", None) and False:',
         f"{DATASET}::test_hostile_metadata_is_refused_by_name"),
        ("types of settings", '        _check_types(found, "the schema\'s metadata")', "        pass",
         f"{HOSTILE_SETS}::test_settings_that_lie"),
    ),
    *of(
        "data/reading/agreement.py",
        ("shards that are there twice", "if len(same) > 1 and not same[0].is_made_of(same):", NEVER,
         f"{HOSTILE_SETS}::test_copied_and_renamed_shards"),
        ("shards among other files", "if len(numbered) < len(shards):", NEVER,
         f"{OPENING}::test_shards_and_files_made_from_them_are_not_mixed"),
        ("shards that are missing", "if missing and not partial:", NEVER,
         f"{DATASET}::test_an_error_leaves_no_half_shard"),
        ("shards of two datasets", "if changed and shard.account is not None:", NEVER, OPENING),
        ("names of classes that differ", "if ours[:shorter] != theirs[:shorter]:", NEVER,
         f"{OPENING}::test_classes_of_a_set_that_has_grown"),
        ("types that differ", "if kind is None:", NEVER, OPENING),
    ),
    *of(
        "data/reading/opening.py",
        ("partitions that differ", "if set(values) != set(names):", NEVER,
         f"{OPENING}::test_partitions_that_are_not_everywhere"),
        ("tables with a log", "        _refuse_tables(root, found.root)\n", "",
         f"{OPENING}::test_tables_with_a_log"),
        ("several splits", 'if len(splits) > 1 and "" not in splits:', NEVER,
         f"{OPENING}::test_splits_in_the_names_of_files"),
    ),
    *of(
        "data/reading/dataset.py",
        ("rows that are no .cae files", "if not data.startswith(SIGNATURE):", NEVER,
         f"{OPENING}::test_pictures_that_are_not_compressed_are_named"),
        ("folders beside files", "if found.nested and not all(", "if False and not all(",
         f"{OPENING}::test_folders_in_folders"),
    ),
    *of(
        "data/packing/arguments.py",
        ("shards among their source", "        if path.parent == out:", "        if False:",
         f"{PACKING}::test_tables_that_would_be_shards"),
        ("booleans as numbers", '    if isinstance(value, bool):\n        raise TypeError(f"{name} must be',
         '    if False:\n        raise TypeError(f"{name} must be',
         f"{PACKING}::test_numbers_that_are_none"),
    ),
    *of(
        "data/packing/existing.py",
        ("other settings", "    if settings.same_set(shard.settings):", "    if True:",
         f"{DATASET}::test_a_set_packed_otherwise_is_not_mixed"),
        ("another source", _SOURCE, NEVER, f"{DATASET}::test_a_source_that_changed_is_noticed"),
        ("other classes", "if not shard.schema.equals(wanted) or features != shard.features:", NEVER,
         f"{HOSTILE_SETS}::test_going_on_with_something_else_is_refused"),
        ("other tables in the folder", "            if match is None:", "            if False:",
         f"{PACKING}::test_tables_that_would_be_shards"),
        ("an iterable of something else", "            if item.path not in listed:", "            if False:",
         f"{COLUMNS}::test_other_columns_than_the_first_shard"),
    ),
    *of(
        "data/packing/pack.py",
        ("what a killed process left", "                left.unlink()", "                pass",
         f"{DATASET}::test_killed_and_packed_again_it_ends_the_same"),
        ("iterables that go on", "                self._check_end(number, account)", "                pass",
         f"{HOSTILE_SETS}::test_iterables_that_changed_are_noticed"),
        ("other parts of another source", "        if others and self.added is None:", "        if False:",
         f"{APPEND}::test_parts_of_different_sources_are_not_mixed_at_first_either"),
    ),
    *of(
        "data/packing/rows.py",
        ("damaged .cae files of a source", "                file.check_payloads()", "                pass",
         f"{DATASET}::test_bad_pictures_are_listed"),
        ("memory that is written again", "Picture(picture.samples.copy(),", "Picture(picture.samples,",
         f"{COLUMNS}::test_rows_that_share_their_memory"),
    ),
    *of(
        "data/packing/columns.py",
        ("values that become others", "    if not same(value, found):", "    if False:",
         f"{COLUMNS}::test_values_that_do_not_fit_are_named"),
        ("true and 1", "    if isinstance(given, bool) is not isinstance(found, bool):", "    if False:",
         f"{COLUMNS}::test_values_that_do_not_fit_are_named"),
        ("earlier whole numbers beyond 2^53", '        if is_a.is_floating(kind) or "double" in fits:',
         "        if True:", f"{COLUMNS}::test_values_that_do_not_fit_are_named"),
        ("earlier negative numbers", '        if kind == pa.uint64() or "unsigned" in fits:',
         "        if True:", f"{COLUMNS}::test_values_that_do_not_fit_are_named"),
        ("earlier times beyond nanoseconds", '        if not finer or "ns" in fits:', "        if True:",
         f"{COLUMNS}::test_values_that_do_not_fit_are_named"),
        ("empty dicts", "    if pyarrow().types.is_struct(kind) and kind.num_fields == 0:", "    if False:",
         f"{COLUMNS}::test_values_that_do_not_fit_are_named"),
        ("keys that a known struct lacks", "isinstance(given, Mapping) and set(given) <= set(found)",
         "isinstance(given, Mapping)", f"{COLUMNS}::test_known_types_hold_values_exactly_too"),
    ),
    *of(
        "data/packing/append.py",
        ("what is packed already", "        if done[name] > 0:", "        if False:",
         f"{APPEND}::test_new_pictures_come_into_new_shards"),
        ("numbers that would be missing", "        numbers += missing[chunks:]", "        pass",
         f"{APPEND}::test_pictures_that_go_before_appending_goes_on"),
        ("parts of different sources", "        if len(base) + chunks != total or not begun_so:",
         "        if False:", f"{APPEND}::test_parts_of_different_sources_are_not_mixed"),
        ("new numbers of classes", "item.columns[name] = numbers[label]", "pass",
         f"{APPEND}::test_new_pictures_come_into_new_shards"),
        ("items without names", 'if item.path is None or item.path == f"{number:08d}":', NEVER,
         f"{APPEND}::test_parquet_and_tars_grow_too"),
        ("bad pictures that were repaired", "        done.subtract(failed)",
         "        pass", f"{APPEND}::test_bad_pictures_are_tried_again_when_they_changed"),
    ),
    *of(
        "data/sums.py",
        ("a lock on each shard", "    except BlockingIOError:\n        raise\n",
         "    except BlockingIOError:\n        return True\n",
         f"{DATASET}::test_two_at_once_do_not_write_one_shard"),
        ("file systems without locks", "    except OSError:\n        return False\n    return True",
         "    except OSError:\n        raise\n    return True",
         f"{PACKING}::test_without_locks_packing_goes_on"),
        ("digests of new shards", "        if name in sums and not fresh:", "        if name in sums:",
         f"{HOSTILE_SETS}::test_a_shard_that_was_deleted_and_packed_again_is_whole"),
    ),
    *of(
        "data/sources/listing.py",
        ("links after folders", "                if known is not None and start:",
         "                if known is not None:",
         f"{FOLDERS}::test_folders_without_numbers_of_their_own"),
        ("folders of a source that cannot be read",
         "                if not folder:\n                    raise", "                raise",
         f"{FOLDERS}::test_a_folder_that_cannot_be_read_is_a_failure"),
    ),
    *of(
        "data/sources/folder.py",
        ("files that vanish", '        except OSError:\n            return "missing"',
         '        except ZeroDivisionError:\n            return "missing"',
         f"{FOLDERS}::test_files_that_vanish_grow_and_appear"),
        ("a folder that is gone", "        if not self.root.is_dir():", "        if False:",
         f"{FOLDERS}::test_a_folder_that_is_gone_ends_the_run"),
    ),
    *of(
        "data/sources/splits.py",
        ("splits beside classes", "return bool(at(level)) and None not in find_splits(at(level))",
         "return any(find_splits(at(level)))", f"{FOLDERS}::test_splits"),
    ),
    *of(
        "data/sources/members.py",
        ("masks beside pictures", _MEMBERS, "clear = pool[:1]", f"{TARS}::test_which_member_is_the_picture"),
        ("samples of several pictures", "    if found and len(clear) != 1:", "    if found and not clear:",
         f"{TARS}::test_which_member_is_the_picture"),
    ),
    *of(
        "data/sources/values.py",
        ("regular files only", "        if not stat.S_ISREG(os.stat(target).st_mode):", "        if False:",
         f"{PARQUET}::test_paths_that_are_not_read"),
        ("URLs of pictures", _URL, "elif False:", f"{PARQUET}::test_paths_that_are_not_read"),
    ),
    *of(
        "data/sources/tar.py",
        ("names in foreign JSON", '                if shown == "cae":', "                if True:",
         f"{TARS}::test_members_come_back_byte_for_byte"),
    ),
    *of(
        "data/sources/memory.py",
        ("transforms of Hugging Face", "    if source.features is None or _has_transform(source):",
         "    if source.features is None:",
         "data/test_sources_iterables.py::test_transforms_of_hugging_face_are_kept"),
    ),
    *of(
        "data/tars.py",
        ("tars that are cut", "        _check_end(path, end)", "        pass",
         f"{HOSTILE_SETS}::test_tars_that_are_cut_or_damaged_are_refused"),
        ("tars that became shorter", "                if len(found[extension]) != size:",
         "                if False:", f"{TARS}::test_a_tar_that_is_cut_after_it_was_listed"),
        ("sparse members", " or info.issparse()", "",
         f"{TARS}::test_links_in_tars_are_the_files_they_lead_to"),
        ("links that lead out of a tar", "                        if member is None:",
         "                        if False:", f"{TARS}::test_links_in_tars_are_the_files_they_lead_to"),
        ("members that are there twice", "if at is not None and extension in samples[at].members and",
         "if False and", f"{TARS}::test_members_that_lie_apart_or_are_there_twice"),
    ),
    *of(
        "data/exporting.py",
        ("keys that are there twice", "    while key in taken:", "    while False:",
         f"{TARS}::test_keys_of_exported_samples"),
    ),
    *of(
        "data/unpacking.py",
        ("names that lead upwards", 'if not safe or not parts or ".." in parts or',
         "if not safe or not parts or",
         f"{DATASET}::test_names_do_not_lead_out_of_the_folder"),
        ("absolute names", 'and ":" not in path and not pure.is_absolute()', 'and ":" not in path',
         f"{DATASET}::test_names_do_not_lead_out_of_the_folder"),
        ("names that a file system folds", _FOLDED, "name", "data/test_unpacking.py"),
    ),
]
