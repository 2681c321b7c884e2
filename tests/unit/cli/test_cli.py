"""The command line: every command has help with an example, and arguments for Snakemake are completed."""

import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from acdc_medsam import __version__, cli
from acdc_medsam.cli import _snakemake, main
from acdc_medsam.exports.registry import LAYOUTS
from acdc_medsam.project import IS_INSTALLED, PROJECT

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(path.stem.replace("_", "-") for path in Path(cli.__file__).parent.glob("[!_]*.py"))
SNAKEFILE = ["--snakefile", str(PROJECT / "Snakefile")]
ADDED = ["--logger", "acdc-medsam", *SNAKEFILE]


def test_the_project_is_this_checkout() -> None:
    assert PROJECT == ROOT and not IS_INSTALLED


def test_every_module_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"init", "run", "demo", "verify", "train", "evaluate", "export", "phantom", "weights"} <= {*COMMANDS}
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        line = next(line for line in listed.splitlines() if line.split()[:1] == [name])
        assert line.endswith("."), "the first sentence of its help fits into the line"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text and f"\n    acdc-medsam {name}" in text.replace("\n  acdc", "\n    acdc")
    assert "\b" not in text, "the mark of a paragraph that keeps its lines stands alone between blank lines"


def test_the_help_of_export_lists_all_layouts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    assert {*LAYOUTS} <= {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}


def test_predict_demo_calls_commands_that_there_are() -> None:
    """It takes some minutes, which `make demo` and the tests of each command do not."""
    plan = subprocess.run(["make", "--dry-run", "predict-demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    calls = [line.split()[1:] for line in plan.stdout.splitlines() if "/acdc-medsam " in line]
    assert [name for name, *_ in calls[-4:]] == ["demo", "train", "phantom", "predict"]
    group = click.Context(cli.commands)
    commands = [(cli.commands.get_command(group, name), name, arguments) for name, *arguments in calls[-4:]]
    parsed = [command.make_context(name, arguments).params for command, name, arguments in commands if command]
    _, train, phantom, predict = parsed
    assert train["out"] / "model.pth" == predict["model"]
    assert phantom["cine"] and predict["scans"][0].is_relative_to(phantom["folder"])


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"acdc-medsam, version {__version__}\n"


def test_the_console_script_is_this_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {cli.NAME: "acdc_medsam.cli:main"}


def test_a_configuration_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("raw: mine\n")
    assert main(["init", str(tmp_path)]) == 1
    assert f"{tmp_path}/config.yaml exists and is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "config.yaml").read_text() == "raw: mine\n"


def test_an_error_of_the_system_is_shown_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["init", str(tmp_path / "file/folder")]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {tmp_path}/file/folder: Not a directory")


def test_an_unknown_layout_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "coco"]) == 2
    assert "name a layout: nnunet, webdataset, lists, structures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        ([], ["--configfile", "config.yaml", *ADDED]),
        (["images", "-n"], ["--configfile", "config.yaml", *ADDED, "images", "-n"]),
        (["--configfile", "a.yaml", "--", "all"], [*ADDED, "--configfile", "config.yaml", "a.yaml", "--", "all"]),
        (["--configfile=a.yaml"], [*ADDED, "--configfile", "config.yaml", "a.yaml"]),
    ],
)
def test_the_configuration_of_the_folder_is_used(
    given: list[str], completed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _snakemake.complete_arguments(given) == [*ADDED, *given] or "=" in given[0]
    (tmp_path / "config.yaml").touch()
    assert _snakemake.complete_arguments(given) == completed


def test_the_configuration_of_the_checkout_is_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert _snakemake.complete_arguments(["-n"]) == [*ADDED, "-n"]


def test_a_profile_of_the_folder_comes_before_one_of_the_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = [*ADDED, "--profile", str(PROJECT / "profiles/slurm")]
    assert _snakemake.complete_arguments(["--profile", "slurm"]) == own
    assert _snakemake.complete_arguments(["--profile=slurm"]) == own
    (tmp_path / "slurm").mkdir()
    assert _snakemake.complete_arguments(["--profile", "slurm"]) == [*ADDED, "--profile", "slurm"]
    assert _snakemake.complete_arguments(["--profile", "other"]) == [*ADDED, "--profile", "other"]


@pytest.mark.parametrize("option", ["--quiet", "--verbose", "--debug-dag"])
def test_options_that_say_how_much_to_show_bring_back_the_log_of_snakemake(option: str) -> None:
    assert "--logger" not in _snakemake.complete_arguments([option])
    assert _snakemake.complete_arguments(["--logger", "other"]).count("--logger") == 1
