"""What every rule has to have."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "workflow/rules"
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
