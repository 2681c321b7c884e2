"""The README is right: its commands and files exist, and its table of keys matches the configuration."""

import re
import subprocess
from pathlib import Path

import yaml

from acdc_medsam.exports.registry import LAYOUTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def flatten(config: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Turn groups of keys into dotted keys, such as ``split.seed``."""
    found: dict[str, object] = {}
    for key, value in config.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_the_table_of_keys_is_the_configuration() -> None:
    table = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", README, re.MULTILINE))
    config = flatten(yaml.safe_load((ROOT / "config.yaml").read_text()))
    assert {key: yaml.safe_load(value) for key, value in table.items()} == config


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))
    assert targets >= {"demo", "test", "lint"}
    for target in targets:
        process = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr


def test_every_file_named_exists() -> None:
    for path in re.findall(r"`((?:workflow|docs|demo|profiles|envs)/[\w./-]+)`|\]\((docs/[\w./]+|\w+\.md)\)", README):
        assert (ROOT / (path[0] or path[1])).exists(), path


def test_it_is_shorter_than_200_lines() -> None:
    assert len(README.splitlines()) < 200


def test_every_snakemake_target_named_exists() -> None:
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = {*re.findall(r"^ *rule (\w+):", text, re.MULTILINE), *LAYOUTS}
    listed = re.search(r"run the workflow up to a single stage: (.*?)\.\n", README, re.DOTALL)
    assert listed is not None
    for target in re.findall(r"`(\w+)`", listed[1]) + re.findall(r"`snakemake (\w+)`", README):
        assert target in rules
