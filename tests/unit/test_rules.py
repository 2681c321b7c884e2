"""What every rule has to have, and the word that its stage has everywhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "workflow/rules"
RULES = {
    name: body
    for path in FOLDER.glob("*.smk")
    for name, body in re.findall(
        r"^ *rule (\w+):\n(.*?)(?=^\S|^ *rule |\Z)", path.read_text(), re.DOTALL | re.MULTILINE
    )
}
JOBS = sorted(name for name, body in RULES.items() if "script:" in body)


def test_every_script_belongs_to_a_rule() -> None:
    used = {Path(name).name for body in RULES.values() for name in re.findall(r'"(\.\./scripts/\w+\.py)"', body)}
    assert used == {path.name for path in (FOLDER.parent / "scripts").glob("*.py")}
    assert len(JOBS) == len(used)


@pytest.mark.parametrize("name", JOBS)
def test_a_rule_has_log_benchmark_environment_and_message(name: str) -> None:
    directives = re.findall(r"^ +(\w+):", RULES[name], re.MULTILINE)
    assert {"log", "benchmark", "conda", "message"} <= set(directives)


@pytest.mark.parametrize("name", JOBS)
def test_a_stage_has_one_word(name: str) -> None:
    """Rule, script, log and benchmark; a rule beside a target of its word has a verb or an object more."""
    stage = Path(re.findall(r'script:\s+"(.*)"', RULES[name])[0]).stem
    assert name == stage if stage not in RULES or stage == name else stage in name.split("_")
    names = re.findall(r'(?:log|benchmark)_of\("(\w+)', RULES[name])
    assert names == [f"{stage}s" if stage == "export" else stage] * 2
    assert f"Rule {name}: " in (FOLDER.parent / f"scripts/{stage}.py").read_text()


def test_profiles_name_rules_that_exist() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    arrays = profile["slurm-array-jobs"].split(", ")
    assert {*profile["set-threads"], *profile["set-resources"], *arrays} <= {*JOBS}


def test_rules_files_are_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in FOLDER.glob("*.smk")}
    assert {name: length for name, length in lengths.items() if length >= 150} == {}
    assert lengths["hooks.smk"] <= 40


def test_a_run_starts_without_what_only_jobs_need() -> None:
    """Each start of Snakemake imports what the rules import, on a cluster for each job; PyTorch alone takes seconds."""
    files = [ROOT / "Snakefile", *FOLDER.glob("*.smk")]
    imports = {line for path in files for line in re.findall(r"^from acdc_medsam.*", path.read_text(), re.MULTILINE)}
    assert len(imports) > 20
    code = "\n".join(["import sys", *sorted(imports), "print(*sys.modules)"])
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in imported
    assert {"torch", "scipy.ndimage", "skimage", "matplotlib", "jinja2"} & {*imported} == set()
