"""Commands, options, paths and links in the documents exist.

The documents are the Markdown files, the Makefile and the docstrings of modules.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import codec
from bench.suite.cli import bench_command
from codec.cli.main import main as codec_command

ROOT = Path(codec.__file__).parents[1]

MARKDOWN = [
    path for pattern in ("*.md", "docs/*.md", "codec/**/*.md", "bench/**/*.md")
    for path in sorted(ROOT.glob(pattern)) if path.name != "CHANGELOG.md"  # it names what older releases had
]
SOURCES = [
    path for name in ("codec", "bench", "tests", "examples") for path in sorted((ROOT / name).rglob("*.py"))
]

WITHOUT_OPTIONS = {"pip", "pytest", "venv", "torch.distributed.run"}
"""Modules of other packages: only that they are named is known here."""

PREFIXES = ("$", "sudo", "time", "nice")

BUILT = ("results/", "demo/", ".venv/")
"""Folders that commands make."""


def spans(text: str) -> Iterator[str]:
    """Everything that a Markdown text sets as code: the lines of blocks, and inline spans."""
    parts = re.split(r"^(?:```|~~~).*$", text, flags=re.MULTILINE)
    for number, part in enumerate(parts):
        if number % 2:
            yield from re.sub(r"\s*\\\n\s*", " ", part).splitlines()
        else:
            yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", part))


def makefile_lines() -> Iterator[str]:
    for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines():
        if line.startswith("\t"):
            yield line.strip().replace("$(BIN)/", "").replace("$(KODAK)", "kodak")
        elif line.startswith("# make "):
            yield line[2:]


def docstring_lines(path: Path) -> Iterator[str]:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))
    yield from spans(text)


def commands(line: str) -> Iterator[list[str]]:
    """The commands of a line as words: `python -m …`, `python FILE …`, `make …` and `codec …`."""
    line = re.split(r"\s#|\s→|\s{2,}\S", line)[0]
    line = re.sub(r"(?<=\s)\[|\](?=\s|$)|…", " ", line)  # options that may be left out
    for part in re.split(r"\s*(?:\||&&|;|>)\s*", line):
        try:
            words = shlex.split(part)
        except ValueError:  # an apostrophe: prose
            continue
        while words and (words[0] in PREFIXES or re.fullmatch(r"[A-Z_]+=\S*", words[0])):
            del words[0]
        if not words:
            continue
        name = words[0].rpartition("/")[2]
        if name == "torchrun" and "-m" in words:  # torchrun --nproc-per-node N -m MODULE …
            yield ["python", *words[words.index("-m") :]]
        elif re.fullmatch(r"python[\d.]*", name):
            yield ["python", *words[1:]]
        elif name in ("make", "codec"):
            yield [name, *words[1:]]


def found(source: str, lines: Iterator[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in lines:
        for words in commands(line):
            yield source, tuple(words)


def all_commands() -> list[tuple[str, tuple[str, ...]]]:
    """Each command once, with the first document that has it."""
    every = [*found("Makefile", makefile_lines())]
    for path in MARKDOWN:
        every += found(path.relative_to(ROOT).as_posix(), spans(path.read_text(encoding="utf-8")))
    for path in SOURCES:
        every += found(path.relative_to(ROOT).as_posix(), docstring_lines(path))
    first: dict[tuple[str, ...], str] = {}
    for source, words in every:
        first.setdefault(words, source)
    return [(source, words) for words, source in first.items()]


COMMANDS = all_commands()


def check_options(command: click.Command, words: list[str]) -> None:
    """`click.UsageError` for a command or an option that there is not; values are not looked at."""
    context = click.Context(command, info_name=command.name)
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words[0]
        inner = command.get_command(context, name)
        if inner is None:
            raise click.UsageError(f"no command {name!r}")
        check_options(inner, words[1:])
    elif command is codec_command.commands["bench"]:  # which hands its arguments on
        check_options(bench_command, words)
    else:
        values, _, _ = command.make_parser(context).parse_args(list(words))
        # Prose may name a command alone. A command line must have what the command needs.
        for one in command.params if words else ():
            given = isinstance(value := values.get(one.name or ""), str | tuple) and value
            if isinstance(one, click.Argument) and one.required and not given:
                raise click.UsageError(f"{command.name} needs {one.human_readable_name}")


def command_of(module: str) -> click.Command | None:
    """The command that a program of this repository runs; None if it takes no options."""
    content = importlib.import_module(f"{module}.__main__" if module in ("bench", "codec") else module)
    values = (getattr(content, name, None) for name in ("main", "bench_command"))
    return next((value for value in values if isinstance(value, click.Command)), None)


def check_python(words: list[str]) -> None:
    if words[:1] != ["-m"]:
        scripts = [word for word in words if word.endswith(".py")]
        assert scripts, words
        text = (ROOT / scripts[0]).read_text(encoding="utf-8")
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert f'"{option}"' in text, f"{scripts[0]} has no option {option}"
        return
    module, arguments = words[1], words[2:]
    if module in WITHOUT_OPTIONS:
        return
    package, _, last = module.rpartition(".")
    if last.isupper():  # any module of the package
        assert importlib.util.find_spec(package) is not None, f"no package {package}"
        return
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"no module {module}"
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    assert '__name__ == "__main__"' in text or module in ("bench", "codec"), f"{module} is no program"
    if module.startswith("tests.fuzz."):  # their options are libFuzzer's
        return
    command = command_of(module)
    if command is None:
        assert not [word for word in arguments if word.startswith("-")], f"{module} takes no options"
    else:
        check_options(command, arguments)


def check_make(words: list[str]) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        variable, equals, _ = word.partition("=")
        pattern = rf"^{re.escape(variable)}\s*\?=" if equals else rf"^{re.escape(word)}:"
        assert re.search(pattern, text, re.MULTILINE), f"the Makefile has no {variable}"


@pytest.mark.parametrize(("source", "words"), COMMANDS, ids=[" ".join(words) for _, words in COMMANDS])
def test_commands_exist(source: str, words: tuple[str, ...]) -> None:
    name, *rest = words
    if name == "make":
        check_make(rest)
    elif name == "codec":
        check_options(codec_command, rest)
    else:
        check_python(rest)


def test_commands_are_found() -> None:
    """The parser of documents finds what a reader sees there."""
    texts = {" ".join(words) for _, words in COMMANDS}
    assert {"make demo", "make test", "codec models", "python -m bench.studies.complexity"} <= texts
    assert len(texts) > 60


@pytest.mark.parametrize(
    "line",
    [
        "codec compres x.png", "codec compress x.png --qualty 3", "codec dataset pak a b",
        "codec bench x --no", "python -m bench.complexity", "python -m bench.studies.speed X --thread 2",
        "make tests", "make figures KODACK=x", "python examples/none.py",
        "python examples/zarr_stack.py --none", "python -m tests.support.layout",
        "python -m tests.support.imports --none", "$ codec compres x.png", ".venv/bin/codec compres x.png",
        "time make tests", "torchrun --nproc-per-node 2 -m codec trian --out x", "codec compress -q 40",
    ],
)
def test_wrong_commands_are_noticed(line: str) -> None:
    (words,) = commands(line)
    with pytest.raises((click.UsageError, AssertionError, OSError, ModuleNotFoundError)):
        test_commands_exist("", tuple(words))


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_paths_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert link.startswith("https://") or (path.parent / link).exists(), link
    for span in spans(text):
        for name in re.findall(r"(?<![\w/.])(?:codec|bench|tests|docs|examples)/[\w./-]*\w", span):
            if not name.startswith(BUILT):
                assert (ROOT / name).exists(), name
        # Below codec/, as docs/architecture.md names them: also in `a.py → b.py` and in diagrams.
        for name in re.findall(r"(?<![\w/.])(\w+/\w+\.(?:py|md))\b", span):
            assert (ROOT / name).exists() or (ROOT / "codec" / name).exists(), name


def test_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for path in MARKDOWN:
        text = path.read_text(encoding="utf-8")
        for names in re.findall(r"(?:codec|'\.)\[([a-z,]+)\]", text):
            assert set(names.split(",")) <= set(project["optional-dependencies"]), f"{path.name}: {names}"


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_prose_is_wrapped(path: Path) -> None:
    """At 100 columns, but for tables, blocks of code and lines of one word."""
    parts = re.split(r"^```.*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for part in parts[::2] for line in part.splitlines()]
    prose = [line for line in lines if not line.startswith(("|", "![")) and " " in line]
    assert [line for line in prose if len(line) > 100] == []
