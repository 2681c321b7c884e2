"""The README and the other pages are right: their targets and files exist, and their keys are the configuration's."""

import re
import subprocess
from urllib.parse import urlsplit

import yaml

from acdc_medsam.exports.registry import LAYOUTS
from pages import COMMANDS, PAGES, ROOT, commands_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
KEYS = (ROOT / "config/README.md").read_text(encoding="utf-8")
WORKSTATION = (ROOT / "docs/workstation.md").read_text(encoding="utf-8")

MADE = ("demo/out", "demo/predictions", "demo/raw", "demo/scans", "docs/_build")
"""Folders that commands make."""


def flatten(config: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Turn groups of keys into dotted keys, such as ``split.seed``."""
    found: dict[str, object] = {}
    for key, value in config.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_the_table_of_keys_is_the_configuration() -> None:
    table = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", KEYS, re.MULTILINE))
    config = flatten(yaml.safe_load((ROOT / "config.yaml").read_text()))
    assert {key: yaml.safe_load(value) for key, value in table.items()} == config


def test_every_make_target_named_exists() -> None:
    assert {command.split()[1] for command in commands_of("README.md", starts="make")} >= {"demo", "test", "lint"}
    for command in commands_of(starts="make"):
        process = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr


def test_every_file_named_exists() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`((?:workflow|docs|demo|profiles|envs)/[\w./-]+)`", text):
            assert (ROOT / path).exists() or path.startswith(MADE), (page, path)
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", text):
            assert (page.parent / link).exists(), (page, link)


def test_every_link_to_the_internet_is_well_formed() -> None:
    links = {link for page in PAGES for link in re.findall(r"\]\((\w+:[^)]*)\)", page.read_text(encoding="utf-8"))}
    assert len(links) >= 6
    for link in links:
        parts = urlsplit(link)
        assert parts.scheme == "https" and re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), link
        assert re.fullmatch(r"[\w./~%-]*", parts.path), link


def test_it_is_shorter_than_110_lines() -> None:
    assert len(README.splitlines()) < 110


def test_it_links_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/\w+\.md)", README))
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES if page.parent == ROOT / "docs"}
    # The site has its own first page and includes files that the README links to where they are.
    assert pages - linked == {f"docs/{name}.md" for name in ("index", "configuration", "contributing", "changelog")}


def test_every_snakemake_target_named_exists() -> None:
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = {*re.findall(r"^ *rule (\w+):", text, re.MULTILINE), *LAYOUTS}
    listed = re.search(r"run the workflow up to a single stage: (.*?)\.\n", WORKSTATION, re.DOTALL)
    assert listed is not None
    further = re.search(r"Further targets are (.*?)\.\n", WORKSTATION, re.DOTALL)
    assert further is not None
    named = {match[1] for command in COMMANDS if (match := re.fullmatch(r"snakemake (\w+)", command.text))}
    for target in {*re.findall(r"`(\w+)`", listed[1]), *re.findall(r"`(\w+)`", further[1]), *named}:
        assert target in rules
