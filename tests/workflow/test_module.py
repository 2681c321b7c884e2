"""Another workflow imports this one as a module, from a path and from GitHub, with a prefix and a configuration."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from acdc_medsam.formats.index import read_index_comments
from workflow_run import ROOT, Workflow

SNAKEFILE = """
configfile: "config.yaml"

module acdc_medsam:
    snakefile: {snakefile}
    config: config["acdc"]
    prefix: "prepared"

use rule * from acdc_medsam as acdc_*
{more}
rule count:
    default_target: True
    input:
        checks=rules.acdc_verify.input,
        manifest="prepared/data/ACDC/manifest.tsv",
    output:
        "results/count.txt",
    shell:
        "wc -l < {{input.manifest}} > {{output}}"
"""
LOCAL = f'"{ROOT}/Snakefile"'


class Importer(Workflow):
    """A folder with a workflow that imports this one.

    Attributes:
        prepared: Folder that is the prefix of this workflow.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.prepared = folder / "prepared"

    def write(self, snakefile: str = LOCAL, more: str = "") -> None:
        """Write the Snakefile.

        Args:
            snakefile: Where this workflow is, as Python code.
            more: Statements after the import.
        """
        (self.folder / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile, more=more))

    def configure(self, **config: Any) -> None:
        """Write the configuration of the importing workflow."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump({"acdc": {"raw": "raw", **config}, "other": 1}))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a run."""
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]


@pytest.fixture
def importer(raw: Path, tmp_path: Path) -> Importer:
    """An importing workflow on two tiny phantoms before its first run; it makes no embeddings."""
    new = Importer(tmp_path / "importer")
    for patient in ("patient001", "patient002"):
        shutil.copytree(raw / "training" / patient, new.raw / "training" / patient)
    new.write()
    new.configure(encoder={"name": "none"}, images={"size": 64})
    return new


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_everything_is_made_below_the_prefix(importer: Importer, checkpoint: Path) -> None:
    shutil.rmtree(importer.raw / "training/patient002")
    importer.configure(encoder={"name": "lite_medsam"}, split={"validation": 0})
    (importer.folder / "checkpoints").symlink_to(checkpoint.parent)
    run = importer.run()
    assert "ACDC to MedSAM, from NIfTI files: 1 patients" in run.output and len(run.of("embed")) == 1
    own = {"Snakefile", "config.yaml", "raw", "checkpoints", ".snakemake"}
    assert names(importer.folder) == own | {"prepared", "results"}
    assert names(importer.prepared) == {"work", "data", "ACDC_training_volumes", "ACDC_training_slices"}
    assert not (importer.prepared / "work/run.holder").exists(), "the hook after the last job was called"
    slices = (importer.prepared / "data/ACDC/manifest.tsv").read_text().count("\n")
    assert (importer.folder / "results/count.txt").read_text() == f"{slices}\n"
    assert "Nothing to be done" in importer.run().output


def test_every_target_of_the_workflow_can_be_asked_for(importer: Importer) -> None:
    importer.run("acdc_all", "acdc_lists")
    assert (importer.prepared / "data/ACDC/provenance.json").exists()
    assert (importer.prepared / "data/exports/lists").is_dir()
    assert read_index_comments(importer.prepared / "work/accepted.tsv").notes == ("19 checks passed",)


def test_a_damaged_file_is_made_again(importer: Importer) -> None:
    """The damage is seen while the run is planned, and removed under all names by the hook before the first job."""
    importer.run()
    image = next(importer.prepared.glob("data/ACDC/train/images/*.png"))
    content = image.read_bytes()
    image.chmod(0o644)
    image.write_bytes(b"damaged")
    run = importer.run()
    assert "images/patient" in run.output and "it is made again when it is asked for" in run.output
    assert len(run.of("render")) == 1 and image.read_bytes() == content


def test_a_failed_run_leaves_the_name_of_its_holder(importer: Importer) -> None:
    importer.run("acdc_dataset")
    (importer.prepared / "data/ACDC/train/images/notes.txt").touch()
    run = importer.run(expect=1)
    assert "notes.txt: does not belong here" in run.output and "Traceback" not in run.output
    assert (importer.prepared / "work/run.holder").exists(), "the hook before the first job took the lock"


def test_hooks_of_the_importing_workflow_are_run_too(importer: Importer) -> None:
    importer.write(
        more="onstart:\n    print('own start')\n    acdc_medsam.onstart()\n"
        "onsuccess:\n    print('own end')\n    acdc_medsam.onsuccess()\n"
    )
    run = importer.run("acdc_images")
    assert "own start" in run.output and "own end" in run.output
    assert (importer.prepared / "work/run.lock").exists() and not (importer.prepared / "work/run.holder").exists()


def test_a_rule_can_be_changed(importer: Importer) -> None:
    """Snakemake then reads this workflow a second time."""
    importer.write(
        more='use rule render from acdc_medsam as acdc_render with:\n    message: "draw {wildcards.patient}"\n'
    )
    assert len(importer.run("acdc_images").of("draw")) == 2
    assert not (importer.prepared / "work/run.holder").exists()


def test_a_mistake_in_the_configuration_is_shown_in_words(importer: Importer) -> None:
    importer.configure(splitt={"seed": 1})
    run = importer.run(expect=1)
    assert "splitt: unknown key; did you mean 'split'?" in run.output and "Traceback" not in run.output


def test_it_is_imported_from_github(importer: Importer, tmp_path: Path) -> None:
    """Snakemake looks into its own clone first, which the test puts there."""
    clone = tmp_path / "cache/snakemake/snakemake/source-cache/snakemake-git-cache/github.com/someone/workflow"
    work = tmp_path / "work"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(bytes.decode, files)):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, work / name)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "all"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=work, check=True)
    clone.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", str(work), str(clone)], check=True)

    importer.write('github("someone/workflow", path="Snakefile", tag="v1")')
    importer.environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT / "workflow/scripts"),
    }
    importer.served = False
    assert len(importer.run("acdc_images").of("render")) == 2
    assert names(importer.prepared) == {"work"}
