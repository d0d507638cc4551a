"""Mutations of `codec/cli`."""

from __future__ import annotations

from tests.support.mutations.mutation import of

FAILURES = "cli/test_command_failures.py"
JOBS = "cli/test_jobs.py"
RUNNING = "cli/test_running.py"

_PARENTS = "{_identity(os.fspath(above)) for above in Path(os.path.realpath(self.root)).parents}"
_LOOP = """            if identity in seen:
                self.links += folder == start
                continue
"""

MUTATIONS = [
    *of(
        "cli/jobs.py",
        ("two inputs, one output", "    _check_keys(jobs, [job.target for job in jobs])\n", "", JOBS),
        ("names that differ in case", "    if len(counts) < len(keys):\n        alike",
         "    if False:\n        alike", JOBS),
    ),
    *of(
        "cli/folders.py",
        ("loops of links end", _LOOP, "", JOBS),
        ("links do not lead up", _PARENTS, "set()", JOBS),
        ("the output is not read", "            seen.add(_identity(self.leave_out))\n", "            pass\n",
         f"{JOBS}::test_the_output_inside_the_input_is_not_read"),
        ("pipes in folders", " and _may_be_read(entry)", "", f"{JOBS}::test_links_and_other_entries"),
        ("folders that cannot be read", "                self.problems.append(error)\n", "",
         f"{JOBS}::test_folders_that_cannot_be_read"),
    ),
    *of(
        "cli/running.py",
        ("existing files are kept", "    if not force:\n", "    if False:\n",
         "cli/test_main.py::test_existing_files_are_kept"),
        ("the input is not overwritten", '        raise ValueError("input and output are the same file")\n',
         "        pass\n", f"{RUNNING}::test_input_and_output_are_the_same"),
        ("an internal error is one line", "        except Exception as error:\n            failed()",
         "        except OSError as error:\n            failed()", RUNNING),
        ("exit code of failures", "    if done.failed:\n        sys.exit(1)\n", "", RUNNING),
    ),
    *of(
        "cli/streams.py",
        ("the end of the output is written",
         "        sys.stdout.flush()\n    except OSError as error:\n        output",
         "        pass\n    except OSError as error:\n        output", FAILURES),
    ),
]
