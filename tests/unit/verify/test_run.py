import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import read_table
from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.layout import EMBEDDING_SHAPE, ENCODING_SHAPE
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.verify import checks as names
from acdc_medsam.verify import files as check_files
from acdc_medsam.verify import run as verify_stage
from acdc_medsam.verify.accept import accept_dataset
from acdc_medsam.verify.checks import has_passed
from acdc_medsam.verify.files import read_tensor
from acdc_medsam.verify.layout import check_split
from acdc_medsam.verify.run import run_checks, verify_dataset
from dataset_defects import DEFECTS, Plant, png_path
from indexes import files_of, is_whole
from small_dataset import SmallDataset

REMEMBERED = "sound_items.json"


def check_dataset(
    small: SmallDataset, expected: names.Expectations | None = None, remembered: str = REMEMBERED
) -> names.Checks:
    """Run all checks on a small dataset."""
    return run_checks(small.output, small.index, expected or small.expectations(), 2, small.work / remembered)


def test_a_sound_dataset_passes_every_check(small: SmallDataset) -> None:
    checks = check_dataset(small)
    assert {name: check.failed for name, check in checks.items() if check.failed} == {}
    assert all(check.items and not check.skipped for check in checks.values())
    slices = len(read_table(small.data / "manifest.tsv"))
    assert checks[names.READABLE].items == 2 * slices
    assert checks[names.EMBEDDING_OWNER].items == checks[names.HAS_MASK].items == slices


@pytest.mark.parametrize("plant", DEFECTS, ids=lambda plant: plant.__name__)
def test_a_planted_defect_is_found_by_its_check(small: SmallDataset, plant: Plant) -> None:
    row = next(row for row in read_table(small.data / "manifest.tsv") if int(row["lv_pixels"]))
    assert check_dataset(small).passed
    plant(small, row)

    checks = check_dataset(small)
    assert checks[DEFECTS[plant]].failed, f"only {[name for name, one in checks.items() if one.failed]} noticed"
    # Remembered findings change nothing, and a failed item fails again.
    assert check_dataset(small) == checks == check_dataset(small, remembered="nothing.json")


def test_only_changed_files_are_read_again(small: SmallDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = check_dataset(small)
    row = read_table(small.data / "manifest.tsv")[0]
    path = png_path(small, row, "images")
    times = path.stat()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes())
    # The bytes and the modification time are the old ones. Only the status-change time shows that the file was written.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    looked = list[str]()

    def check_slice(
        root: Path, row: dict[str, str], expected: names.Expectations, records: check_files.Records
    ) -> list[names.Finding]:
        looked.append(row["slice"])
        return check_files.check_slice(root, row, expected, records)

    monkeypatch.setattr(verify_stage, "check_slice", check_slice)
    assert check_dataset(small) == before
    assert looked == [row["slice"]]
    check_dataset(small, small.expectations(keep_empty=True))
    assert len(looked) == 1 + len(read_table(small.data / "manifest.tsv")), "other expectations lead to other findings"


@pytest.mark.parametrize("edited", ["run.py", "files.py", "layout.py", "checks.py"])
def test_an_edited_check_is_run_again_on_sound_items(
    small: SmallDataset, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    memory = small.work / REMEMBERED
    run_checks(small.output, small.index, small.expectations(), 2, memory)
    before = json.loads(memory.read_text())
    module = Path(verify_stage.__file__).with_name(edited)
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read_bytes(path) + b"# edited\n" * (path == module))
    run_checks(small.output, small.index, small.expectations(), 2, memory)
    after = json.loads(memory.read_text())
    assert before.keys() == after.keys() and len(before) > 1
    assert all(before[item] != after[item] for item in before)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"encoding": ["", []]}'])
def test_a_damaged_memory_is_an_empty_one(small: SmallDataset, content: str) -> None:
    (small.work / REMEMBERED).write_text(content)
    checks = check_dataset(small)
    assert checks == check_dataset(small, remembered="nothing.json")


def test_every_check_has_a_planted_defect_or_a_test_of_its_own(small: SmallDataset) -> None:
    assert set(small.expectations().check_names) - set(DEFECTS.values()) == {names.BALANCED}


@pytest.mark.parametrize("changes", [{"validation": 0.9}, {"validation": 0.0, "unit": "slice"}])
def test_a_split_that_is_not_what_was_asked_for(small: SmallDataset, changes: dict[str, Any]) -> None:
    checks = check_dataset(small, small.expectations(split=SplitRule(**changes)))
    assert checks[names.BALANCED].failed


def test_slices_as_unit_say_how_many_patients_are_shared(small: SmallDataset) -> None:
    small.publish(unit="slice")
    checks = check_dataset(small, small.expectations(split=SplitRule(unit="slice")))
    assert checks.passed
    assert "patients are on both sides, as asked for" in str(checks[names.APART].skipped)
    # If a split by patient was asked for, the same dataset does not pass.
    assert check_dataset(small)[names.APART].failed


def test_a_published_split_promises_no_shares_and_says_what_they_are(small: SmallDataset) -> None:
    rule = SplitRule("wsl4mis", 2)
    small.publish(rule=rule)
    checks = check_dataset(small, small.expectations(split=rule))
    assert checks.passed and checks[names.APART].items == len(small.tables)
    reason = checks[names.BALANCED].skipped
    assert reason is not None and reason.startswith("split.scheme wsl4mis:2 promises no shares: 0 of 3 patients")


def test_patients_that_a_scheme_leaves_out_are_in_the_h5_folders_only(small: SmallDataset) -> None:
    rule = SplitRule("ssl4mis")
    small.publish(rule=rule)
    rows = read_table(small.data / "manifest.tsv")
    assert {row["patient"]: row["split"] for row in rows} == {
        "patient001": "test",
        "patient002": "val",
        "patient003": "train",
    }
    assert len(list((small.output / "ACDC_testing_volumes").iterdir())) == 2
    assert check_dataset(small, small.expectations(split=rule)).passed
    # If another scheme was asked for, the patient of testing/ is missing.
    reasons = [item["reason"] for item in check_dataset(small)[names.H5_AGREES].failed]
    assert reasons and all("is missing from the manifest" in reason for reason in reasons)


def test_patients_of_testing_that_a_scheme_leaves_out_must_not_be_in_the_manifest(small: SmallDataset) -> None:
    checks = check_dataset(small, small.expectations(split=SplitRule("ssl4mis")))
    assert "of a patient in no split, yet in the manifest" in checks[names.H5_AGREES].failed[0]["reason"]


def test_a_fold_has_its_share_of_each_group(small: SmallDataset) -> None:
    expected = small.expectations(split=SplitRule(fold=0))
    for in_val, failed in ((1, []), (2, []), (3, [{"item": "groups", "reason": "not a fifth in val: NOR 3 of 8"}])):
        checks = names.Checks(expected)
        splits = ["val"] * in_val + ["train"] * (8 - in_val)
        rows = [{"patient": f"{n}", "slice": f"{n}", "group": "NOR", "split": s} for n, s in enumerate(splits)]
        check_split(rows, expected, checks)
        assert checks[names.BALANCED].items == 1 and checks[names.BALANCED].failed == failed


def test_another_split_reads_only_what_it_moved(small: SmallDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    check_dataset(small)
    before = {row["slice"]: row["split"] for row in read_table(small.data / "manifest.tsv")}
    small.publish(rule=SplitRule("nnunet", 1))
    after = {row["slice"]: row["split"] for row in read_table(small.data / "manifest.tsv")}
    read = []
    check = verify_stage.check_slice
    monkeypatch.setattr(
        verify_stage, "check_slice", lambda root, row, *rest: read.append(row) or check(root, row, *rest)
    )
    assert check_dataset(small, small.expectations(split=SplitRule("nnunet", 1))).passed
    assert {row["slice"] for row in read} == {name for name in after if after[name] != before[name]} != set()


def test_a_dataset_without_embeddings_passes_and_says_so(small: SmallDataset) -> None:
    small.publish(embeddings=False)
    checks = check_dataset(small, small.expectations(embeddings=False))
    assert checks.passed
    assert all(checks[name].skipped for name in names.OF_EMBEDDINGS)


@pytest.mark.parametrize("embeddings", [True, False])
def test_one_flipped_byte_anywhere_is_found(small: SmallDataset, embeddings: bool) -> None:
    """Without embeddings, no other check compares an image with its digest."""
    small.publish(embeddings=embeddings, link="copy")
    expected = small.expectations(embeddings=embeddings)
    assert check_dataset(small, expected).passed
    for pattern in ("data/ACDC/*/*/*.p*", "ACDC_*/*.h5", *(["data/ACDC/positional*/pe.pt"] if embeddings else [])):
        path = sorted(small.output.glob(pattern))[3 if "*/*" in pattern else 0]
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        checks = check_dataset(small, expected)
        failed = [one["item"] for one in checks[names.RECORDED].failed]
        assert failed == ["/".join(path.parts[-3:])]
        path.write_bytes(content)


def verify(small: SmallDataset) -> Path:
    quality = small.data / "quality.json"
    verify_dataset(small.output, small.index, quality, small.work / "verified.tsv", small.expectations(), threads=1)
    return quality


def test_quality_json_lists_checks_and_acceptance_follows_it(small: SmallDataset, tmp_path: Path) -> None:
    result = json.loads(verify(small).read_text())
    assert result["passed"] and list(result["checks"]) == list(small.expectations().check_names)
    accepted = tmp_path / "accepted.tsv"
    accept_dataset(small.work / "verified.tsv", accepted)
    assert read_index_comments(accepted).notes == (f"{len(result['checks'])} checks passed",)
    assert files_of(accepted) == [small.data / "quality.json"] and is_whole(accepted)


def test_every_failed_item_is_listed_and_the_error_names_them(small: SmallDataset, tmp_path: Path) -> None:
    rows = read_table(small.data / "manifest.tsv")
    for row in rows:
        png_path(small, row, "masks").unlink()
    result = json.loads(verify(small).read_text())
    assert len(result["checks"][names.HAS_MASK]["failed"]) == len(rows)
    with pytest.raises(DatasetError) as caught:
        accept_dataset(small.work / "verified.tsv", tmp_path / "accepted.tsv")
    message = str(caught.value)
    assert f"each image has its mask: {len(rows)} of {len(rows)} failed" in message
    assert f"and {len(rows) - 5} more, all in" in message
    assert not (tmp_path / "accepted.tsv").exists()


def test_embeddings_of_the_workflow_are_read_without_torch(
    small: SmallDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for row in read_table(small.data / "manifest.tsv"):
        tensor = read_tensor(small.data / row["embedding"])
        assert (tensor.shape, tensor.sound, tensor.sha256) == (EMBEDDING_SHAPE, True, row["embedding_sha256"])
    assert read_tensor(small.data / "positional_encoding/pe.pt").shape == ENCODING_SHAPE


def test_a_tensor_larger_than_its_file_is_not_unfolded(tmp_path: Path) -> None:
    torch.save(torch.zeros(()).expand(10**6, 10**6), tmp_path / "wide.pt")
    with pytest.raises(DatasetError, match=r"holds a tensor \[1000000, 1000000\] that is larger than its file"):
        read_tensor(tmp_path / "wide.pt")
    torch.save(torch.zeros(2**20), tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "bomb.pt", "w", 8) as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    with pytest.raises(DatasetError, match="claims more than a file of its size holds"):
        read_tensor(tmp_path / "bomb.pt")


@pytest.mark.parametrize(
    ("text", "passed"),
    [('{"passed": true}', True), ('{"passed": false}', False), ("", False), ("[]", False), ("{}", False)],
)
def test_a_damaged_quality_json_says_of_nothing_that_it_passed(text: str, passed: bool, tmp_path: Path) -> None:
    (tmp_path / "quality.json").write_text(text)
    assert has_passed(tmp_path / "quality.json") is passed
    assert not has_passed(tmp_path / "none.json")
