import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import read_table
from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.verify import checks as names
from acdc_medsam.verify import files as check_files
from acdc_medsam.verify import run as verify_stage
from acdc_medsam.verify.checks import has_passed
from acdc_medsam.verify.files import read_tensor
from acdc_medsam.verify.run import accept_dataset, run_checks, verify_dataset
from indexes import files_of, is_whole
from small_dataset import SIZE, SmallDataset

REMEMBERED = "sound_items.json"

Defect = Callable[[SmallDataset, dict[str, str]], None]


def png(small: SmallDataset, row: dict[str, str], kind: str) -> Path:
    return small.data / row["split"] / kind / f"{row['slice']}.png"


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.unlink()  # the file is a hard link into work/, which must stay as it is
    Image.fromarray(pixels).save(path)


def write_pt(small: SmallDataset, row: dict[str, str], tensor: object) -> None:
    path = small.data / row["embedding"]
    path.unlink()
    torch.save(tensor, path)


def read_png(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def swap_embeddings(small: SmallDataset, row: dict[str, str]) -> None:
    other = next(r for r in read_table(small.data / "manifest.tsv") if r["slice"] != row["slice"])
    first, second = (small.data / r["embedding"] for r in (row, other))
    spare = small.output / "spare"
    first.rename(spare)
    second.rename(first)
    spare.rename(second)


def change_pixel(small: SmallDataset, row: dict[str, str]) -> None:
    pixels = read_png(png(small, row, "images"))
    pixels[0, 0] ^= 1
    write_png(png(small, row, "images"), pixels)


def change_label(small: SmallDataset, row: dict[str, str], value: int, where: int) -> None:
    mask = read_png(png(small, row, "masks"))
    mask[mask == where] = value
    write_png(png(small, row, "masks"), mask)


def change_h5(small: SmallDataset, row: dict[str, str]) -> None:
    path = small.output / f"ACDC_training_slices/{row['slice']}.h5"
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["label"][0, 0] = 3


def change_attribute(small: SmallDataset, row: dict[str, str]) -> None:
    path = next(small.output.glob(f"ACDC_training_volumes/{row['patient']}*"))
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file.attrs["height"] = 1.0


def edit_manifest(small: SmallDataset, row: dict[str, str], **changes: str) -> None:
    path = small.data / "manifest.tsv"
    lines = path.read_text().splitlines()
    header = lines[0].split("\t")
    for number, line in enumerate(lines):
        cells = line.split("\t")
        if cells[0] == row["slice"]:
            for column, value in changes.items():
                cells[header.index(column)] = value
            lines[number] = "\t".join(cells)
    path.write_text("\n".join(lines) + "\n")


def finite_but(value: float) -> torch.Tensor:
    tensor = torch.zeros(256, 64, 64)
    tensor[0, 0, 0] = value
    return tensor


DEFECTS: dict[str, tuple[Defect, str]] = {
    "image of another size": (
        lambda s, r: write_png(png(s, r, "images"), np.zeros((32, 32), np.uint8)),
        names.size_check(SIZE),
    ),
    "colour image": (
        lambda s, r: write_png(png(s, r, "images"), np.zeros((SIZE, SIZE, 3), np.uint8)),
        names.UINT8,
    ),
    "mask of another shape": (
        lambda s, r: write_png(png(s, r, "masks"), np.ones((32, 32), np.uint8)),
        names.SAME_SHAPE,
    ),
    "label 4": (lambda s, r: change_label(s, r, 4, where=3), names.MASK_VALUES),
    "empty mask": (lambda s, r: write_png(png(s, r, "masks"), np.zeros((SIZE, SIZE), np.uint8)), names.NOT_EMPTY),
    "truncated PNG": (
        lambda s, r: write_png_bytes(png(s, r, "masks"), png(s, r, "masks").read_bytes()[:60]),
        names.READABLE,
    ),
    "embedding of another shape": (lambda s, r: write_pt(s, r, torch.zeros(1, 256, 64, 64)), names.EMBEDDING_SHAPED),
    "float16 embedding": (lambda s, r: write_pt(s, r, torch.zeros(256, 64, 64).half()), names.EMBEDDING_FINITE),
    "NaN in an embedding": (lambda s, r: write_pt(s, r, finite_but(float("nan"))), names.EMBEDDING_FINITE),
    "another embedding": (lambda s, r: write_pt(s, r, finite_but(1)), names.EMBEDDING_OWNER),
    "not a tensor": (lambda s, r: write_pt(s, r, {"a": 1}), names.EMBEDDING_SHAPED),
    "swapped embeddings": (swap_embeddings, names.EMBEDDING_OWNER),
    "changed pixel": (change_pixel, names.EMBEDDING_OWNER),
    "one patient on both sides": (
        lambda s, r: edit_manifest(s, r, split="val" if r["split"] == "train" else "train"),
        names.APART,
    ),
    "no positional encoding": (lambda s, r: (s.data / "positional_encoding/pe.pt").unlink(), names.ENCODING),
    "two positional encodings": (lambda s, r: (s.data / "train/pe.pt").touch(), names.ONE_ENCODING),
    "no mask": (lambda s, r: png(s, r, "masks").unlink(), names.HAS_MASK),
    "no embedding": (lambda s, r: (s.data / r["embedding"]).unlink(), names.HAS_EMBEDDING),
    "one image more": (
        lambda s, r: (s.data / "train/images/patient099_frame01_slice_0.png").touch(),
        names.COUNTS,
    ),
    "a stray file": (lambda s, r: (s.data / "train/.DS_Store").touch(), names.FOLDERS),
    "a stray folder": (lambda s, r: (s.data / "extra").mkdir(), names.FOLDERS),
    "another label in the H5 slice": (change_h5, names.H5_AGREES),
    "another byte behind the picture": (
        lambda s, r: write_png_bytes(png(s, r, "images"), png(s, r, "images").read_bytes() + b"x"),
        names.RECORDED,
    ),
    "another attribute in the H5 volume": (lambda s, r: change_attribute(s, r), names.RECORDED),
    "another label in the mask": (lambda s, r: change_label(s, r, 2, where=3), names.H5_AGREES),
    "H5 slice missing": (
        lambda s, r: (s.output / f"ACDC_training_slices/{r['slice']}.h5").unlink(),
        names.H5_AGREES,
    ),
    "H5 volume missing": (
        lambda s, r: next(s.output.glob(f"ACDC_training_volumes/{r['patient']}*")).unlink(),
        names.H5_AGREES,
    ),
}


def write_png_bytes(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def test_a_sound_dataset_passes_every_check(small: SmallDataset) -> None:
    checks = run_checks(small.output, small.index, small.expectations(), 2, small.work / REMEMBERED)
    assert {name: check.failed for name, check in checks.items() if check.failed} == {}
    assert all(check.items and not check.skipped for check in checks.values())
    slices = len(read_table(small.data / "manifest.tsv"))
    assert checks[names.READABLE].items == 2 * slices
    assert checks[names.EMBEDDING_OWNER].items == checks[names.HAS_MASK].items == slices


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_planted_defect_is_found_by_its_check(small: SmallDataset, kind: str) -> None:
    plant, check = DEFECTS[kind]
    row = next(row for row in read_table(small.data / "manifest.tsv") if int(row["lv_pixels"]))
    assert run_checks(small.output, small.index, small.expectations(), 2, small.work / REMEMBERED).passed
    plant(small, row)
    checks = run_checks(small.output, small.index, small.expectations(), 2, small.work / REMEMBERED)
    assert checks[check].failed, f"only {[name for name, one in checks.items() if one.failed]} noticed"
    # What is remembered changes nothing, and a failed item stays a failed one.
    again = run_checks(small.output, small.index, small.expectations(), 2, small.work / REMEMBERED)
    assert (
        again == checks == run_checks(small.output, small.index, small.expectations(), 2, small.work / "nothing.json")
    )


def test_only_changed_files_are_read_again(small: SmallDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_checks(small.output, small.index, small.expectations(), 2, small.work / REMEMBERED)
    row = read_table(small.data / "manifest.tsv")[0]
    path = png(small, row, "images")
    times = path.stat()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes())  # the same bytes, and the old time put back: the inode's own time tells
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    looked = list[str]()

    def check_slice(
        root: Path, row: dict[str, str], expected: names.Expectations, records: check_files.Records
    ) -> list[names.Finding]:
        looked.append(row["slice"])
        return check_files.check_slice(root, row, expected, records)

    monkeypatch.setattr(verify_stage, "check_slice", check_slice)
    assert run_checks(small.output, small.index, small.expectations(), 2, small.work / REMEMBERED) == before
    assert looked == [row["slice"]]
    run_checks(small.output, small.index, small.expectations(keep_empty=True), 2, small.work / REMEMBERED)
    assert len(looked) == 1 + len(read_table(small.data / "manifest.tsv")), "other expectations, other findings"


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
    checks = run_checks(small.output, small.index, small.expectations(), 2, small.work / REMEMBERED)
    assert checks == run_checks(small.output, small.index, small.expectations(), 2, small.work / "nothing.json")


def test_every_check_has_a_planted_defect_or_a_test_of_its_own(small: SmallDataset) -> None:
    found_by = {check for _, check in DEFECTS.values()}
    assert set(small.expectations().check_names) - found_by == {names.BALANCED}


@pytest.mark.parametrize("changes", [{"validation": 0.9}, {"validation": 0.0, "unit": "slice"}])
def test_a_split_that_is_not_what_was_asked_for(small: SmallDataset, changes: dict[str, object]) -> None:
    checks = run_checks(small.output, small.index, small.expectations(**changes), 1, small.work / REMEMBERED)
    assert checks[names.BALANCED].failed


def test_slices_as_unit_say_how_many_patients_are_shared(small: SmallDataset) -> None:
    small.publish(unit="slice")
    checks = run_checks(small.output, small.index, small.expectations(unit="slice"), 1, small.work / REMEMBERED)
    assert checks.passed
    assert "patients are on both sides, as asked for" in str(checks[names.APART].skipped)
    # The same dataset taken for one that is split by patient does not pass.
    assert run_checks(small.output, small.index, small.expectations(), 1, small.work / REMEMBERED)[names.APART].failed


def test_a_dataset_without_embeddings_passes_and_says_so(small: SmallDataset) -> None:
    small.publish(embeddings=False)
    checks = run_checks(small.output, small.index, small.expectations(embeddings=False), 1, small.work / REMEMBERED)
    assert checks.passed
    assert all(checks[name].skipped for name in names.OF_EMBEDDINGS)


@pytest.mark.parametrize("embeddings", [True, False])
def test_one_flipped_byte_anywhere_is_found(small: SmallDataset, embeddings: bool) -> None:
    """Without embeddings no image is compared with its digest by another check."""
    small.publish(embeddings=embeddings, link="copy")
    expected = small.expectations(embeddings=embeddings)
    memory = small.work / REMEMBERED
    assert run_checks(small.output, small.index, expected, 2, memory).passed
    for pattern in ("data/ACDC/*/*/*.p*", "ACDC_*/*.h5", *(["data/ACDC/positional*/pe.pt"] if embeddings else [])):
        path = sorted(small.output.glob(pattern))[3 if "*/*" in pattern else 0]
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        checks = run_checks(small.output, small.index, expected, 2, memory)
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
        png(small, row, "masks").unlink()
    result = json.loads(verify(small).read_text())
    assert len(result["checks"][names.HAS_MASK]["failed"]) == len(rows)
    with pytest.raises(DatasetError) as caught:
        accept_dataset(small.work / "verified.tsv", tmp_path / "accepted.tsv")
    message = str(caught.value)
    assert f"each image has its mask: {len(rows)} of {len(rows)} failed" in message
    assert f"and {len(rows) - 5} more, all in" in message
    assert not (tmp_path / "accepted.tsv").exists()


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
