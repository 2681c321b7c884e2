"""A lost file is noticed and made again, and nothing else is."""

import json

import pytest

from acdc_medsam.verify.copy import check_copy
from workflow_run import Workflow

LOST = {
    "an H5 slice": ("work/h5/patient001/slices/*.h5", "verify", ["normalize patient001", "render patient001"]),
    "an H5 volume": ("work/h5/patient001/volumes/*.h5", "verify", ["normalize patient001", "render patient001"]),
    "a PNG image": ("work/png/patient001/images/*.png", "verify", ["render patient001"]),
    "a PNG mask": ("work/png/patient001/masks/*.png", "verify", ["render patient001"]),
    "an index": ("work/png/patient001/index.tsv", "verify", ["render patient001"]),
    "a published image": ("data/ACDC/*/images/patient001*", "verify", []),
    "a published embedding": ("data/ACDC/*/image_embeddings/patient001*", "verify", []),
    "the positional encoding": ("data/ACDC/positional_encoding/pe.pt", "verify", []),
    "a published H5 slice": ("ACDC_training_slices/patient001*", "verify", []),
    "quality.json": ("data/ACDC/quality.json", "verify", []),
    "a patient's measures": ("work/measures/patient001-*.npz", "report", []),
    "the report": ("data/ACDC/report.html", "report", []),
    "the dataset card": ("data/ACDC/README.md", "all", []),
    "croissant.json": ("data/ACDC/croissant.json", "all", []),
}
"""Kind of lost file -> its pattern, the target that needs it, and the patient's jobs that make it again."""


@pytest.fixture(scope="module")
def shared_run(undisturbed: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A copy of a complete run, in which file after file is lost and made again."""
    return undisturbed.copy(tmp_path_factory.mktemp("lost") / "run")


@pytest.mark.parametrize("kind", LOST)
def test_a_deleted_file_is_noticed_and_made_again(shared_run: Workflow, kind: str) -> None:
    pattern, target, jobs = LOST[kind]
    lost = sorted(shared_run.folder.glob(pattern))[0]
    content = lost.read_bytes()
    before = shared_run.stored()
    lost.unlink()
    run = shared_run.run(target)
    assert lost.read_bytes() == content
    assert run.of("normalize", "render") == jobs
    assert shared_run.stored() == before


def test_provenance_json_is_made_again_and_correct(shared_run: Workflow) -> None:
    lost = shared_run.data / "provenance.json"
    content = json.loads(lost.read_text())
    lost.unlink()
    assert shared_run.run().jobs == ["write the provenance of every file"]
    assert json.loads(lost.read_text()) | {"written": content["written"]} == content

    files, differences = check_copy(shared_run.data, threads=2)
    volumes = [name for name in content["origins"] if name.startswith("ACDC_")]
    assert files == len(content["files"]) + len(volumes) and differences == []


def test_nothing_is_left_to_do_after_that(shared_run: Workflow) -> None:
    assert shared_run.run().jobs == []
