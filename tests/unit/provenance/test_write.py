import json
import shutil
import subprocess
from pathlib import Path

import pytest

from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.provenance.write import git_commit
from acdc_medsam.verify.copy import check_copy
from small_dataset import WEIGHTS, SmallDataset, provenance_of


def test_every_published_file_is_listed_and_no_other(described_once: Path) -> None:
    data = described_once / "data/ACDC"
    content = provenance_of(data)
    there = {str(path.relative_to(data)): path for path in data.rglob("*") if path.is_file()}
    assert set(content["files"]) == set(there) - {"provenance.json"}
    for name, entry in content["files"].items():
        assert entry["sha256"] == sha256_file(there[name]) and entry["bytes"] == there[name].stat().st_size
    h5 = {str(path.relative_to(described_once)): path for path in described_once.glob("ACDC_*/*.h5")}
    for name, path in h5.items():
        assert content["origins"][name]["sha256"] == sha256_file(path)


def test_an_embedding_is_traced_to_the_raw_files_and_the_weights(described_once: Path, raw: Path) -> None:
    content = provenance_of(described_once / "data/ACDC")
    every = content["files"] | content["origins"]
    row = read_table(described_once / "data/ACDC/manifest.tsv")[0]

    def origins(name: str) -> set[str]:
        return {name}.union(*(origins(one) for one in every[name].get("from", [])))

    patient = f"training/{row['patient']}"
    volume = f"{row['patient']}_frame{int(row['frame']):02d}"
    raw_names = [f"{patient}/Info.cfg", f"{patient}/{volume}.nii.gz", f"{patient}/{volume}_gt.nii.gz"]
    found = origins(row["embedding"])
    assert found == {
        row["embedding"],
        f"{row['split']}/images/{row['slice']}.png",
        f"ACDC_training_volumes/{volume}.h5",
        "weights/weights.pth",
        *(f"raw/{name}" for name in raw_names),
    }
    assert all(every[f"raw/{name}"]["sha256"] == sha256_file(raw / name) for name in raw_names)
    assert every["weights/weights.pth"]["sha256"] == WEIGHTS


def test_two_runs_differ_only_in_the_key_written(made: Path, described_once: Path, tmp_path: Path) -> None:
    small = SmallDataset(shutil.copytree(made, tmp_path / "elsewhere"))
    small.publish(link="copy")
    small.write_documents()
    first, second = provenance_of(described_once / "data/ACDC"), provenance_of(small.data)
    assert list(first.pop("written")) == list(second.pop("written")) == ["time", "sha256"]
    assert first == second
    assert str(made) not in json.dumps(first) and str(described_once) not in json.dumps(first)


@pytest.mark.parametrize("link", ["symlink", "copy"])
def test_a_dataset_without_embeddings(small: SmallDataset, link: str) -> None:
    small.publish(embeddings=False, link=link)
    small.write_documents(embeddings=False)
    assert not [name for name in provenance_of(small.data)["origins"] if name.startswith("weights/")]
    copied = shutil.copytree(small.data, small.output / "copied")
    assert check_copy(copied, threads=2)[1] == []


def test_the_commit_is_named_only_in_a_checkout_of_the_project(tmp_path: Path) -> None:
    unknown = {"commit": None, "modified": None}
    assert git_commit(tmp_path) == unknown

    def git(*arguments: str) -> None:
        settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *settings, "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").touch()
    git("add", "file")
    git("commit", "-m", "first")
    (tmp_path / "work").mkdir()
    assert git_commit(tmp_path / "work") == unknown, "a folder inside the checkout of another project"
    found = git_commit(tmp_path)
    assert len(found["commit"]) == 40 and found["modified"] is False
    (tmp_path / "file").write_text("changed")
    assert git_commit(tmp_path)["modified"] is True


def test_git_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(Path(__file__).parents[3]) == {"commit": None, "modified": None}
