"""The pages of the documentation, and the commands on them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
)
NEEDS = {"ACDC", "a GPU", "a cluster", "the internet"}
"""What a command may need that tests do not have. A page says so in a line before the command, which is not shown."""

PROGRAMS = {
    "snakemake": "snakemake",
    "acdc-medsam": "acdc_medsam",
}
"""Start of a command -> the same as a module of Python, with which no program need be installed."""

FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- not tested: needs (?P<needs>[^\n]+) -->\n *)?```sh\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
ANY_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:snakemake|acdc-medsam|make|(?:\.venv/bin/)?python)\s[^`]+)`")


@dataclass(frozen=True)
class Command:
    """A command on a page.

    Attributes:
        page: Path of the page below the root of the repository.
        text: The command without its comment.
        needs: What it needs that tests do not have, in the page's words; empty if there is nothing.
    """

    page: str
    text: str
    needs: str = ""


def find_commands(path: Path) -> Iterator[Command]:
    """Yield the commands of a page: those in blocks of shell code, then those within sentences."""
    page = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        for line in block["body"].splitlines():
            command = re.sub(r"\s+#.*", "", line).strip()
            if command:
                yield Command(page, command, block["needs"] or "")
    for command in INLINE.findall(ANY_FENCE.sub("", text)):
        yield Command(page, " ".join(command.split()))


COMMANDS = tuple(command for path in PAGES for command in find_commands(path))


def commands_of(*pages: str, starts: str = "") -> list[str]:
    """Return the different commands of some pages, or of all, that tests can run, in order of their text."""
    chosen = [one for one in COMMANDS if not one.needs and (not pages or one.page in pages)]
    return sorted({one.text for one in chosen if f"{one.text} ".startswith(f"{starts} " if starts else "")})


def as_module(command: str) -> str:
    """Return a command as the arguments of Python: ``snakemake -n`` becomes ``-m snakemake -n``."""
    program = next(name for name in PROGRAMS if f"{command} ".startswith(f"{name} "))
    return f"-m {PROGRAMS[program]}{command.removeprefix(program)}"
