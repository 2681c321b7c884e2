"""Which patients a fold of a benchmark trains on, which ones choose its epoch, and which ones it measures."""

from collections import Counter
from pathlib import Path

import pytest

from acdc_medsam.acdc.labels import GROUP_SIZE, GROUPS
from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.formats.files import Row, read_sealed, read_table, write_table
from acdc_medsam.layout import MANIFEST_COLUMNS
from acdc_medsam.stages.folds import BenchmarkRule, assign_roles, hold_out, require_folds, require_roles, write_folds
from acdc_medsam.stages.split_rule import SplitRule
from indexes import is_whole
from small_dataset import SmallDataset

SUBSETS = {f"patient{number:03d}": "training" if number <= 100 else "testing" for number in range(1, 151)}


def make_rows(numbers: range = range(1, 151), split: str = "train") -> list[Row]:
    """One slice for each of ACDC's patients."""
    names = [f"patient{number:03d}" for number in numbers]
    groups = [GROUPS[(number - 1) // GROUP_SIZE % 5] for number in numbers]
    return [
        {"slice": f"{name}_frame01_slice_0", "patient": name, "group": group, "split": split}
        for name, group in zip(names, groups, strict=True)
    ]


@pytest.mark.parametrize("scheme", ["stratified", "nnunet", "wsl4mis"])
def test_each_training_patient_is_held_out_once_and_then_chooses_nothing(scheme: str) -> None:
    rows = make_rows()
    held_out = Counter[str]()
    chose = Counter[str]()
    for number in BenchmarkRule().plan(scheme).values():
        roles = assign_roles(rows, SUBSETS, number, SplitRule(scheme=scheme))
        assert {SUBSETS[patient] for patient in roles} == {"training"} and len(roles) == 100
        assert Counter(roles.values()) == {"test": 20, "val": 16, "train": 64}
        held_out.update(patient for patient, role in roles.items() if role == "test")
        chose.update(patient for patient, role in roles.items() if role == "val")
    assert set(held_out.values()) == {1} and len(held_out) == 100
    assert max(chose.values()) < 5, "no patient is kept from all trainings that it could be part of"


def test_the_held_out_patients_are_those_of_the_fold_of_the_scheme() -> None:
    rows = make_rows()
    for number in range(1, 6):
        roles = assign_roles(rows, SUBSETS, number, SplitRule(scheme="wsl4mis"))
        measured = sorted(patient for patient, role in roles.items() if role == "test")
        assert measured == [f"patient{20 * (number - 1) + index:03d}" for index in range(1, 21)]


def test_the_epoch_is_chosen_by_all_groups() -> None:
    rows = make_rows()
    groups = {row["patient"]: row["group"] for row in rows}
    roles = assign_roles(rows, SUBSETS, 0, SplitRule())
    counts = Counter(groups[patient] for patient, role in roles.items() if role == "val")
    assert set(counts) == set(GROUPS) and max(counts.values()) - min(counts.values()) <= 1


def test_with_test_held_out_the_published_split_stays() -> None:
    rows = make_rows(range(1, 21)) + make_rows(range(21, 31), "val") + make_rows(range(31, 41), "test")
    roles = assign_roles(rows, SUBSETS, None, SplitRule(scheme="ssl4mis"))
    assert roles == {row["patient"]: row["split"] for row in rows}


def test_without_val_a_part_of_the_training_patients_chooses_the_epoch() -> None:
    splits = {"patient001": "train", "patient002": "train", "patient003": "test", "patient004": ""}
    roles = hold_out(splits, dict.fromkeys(splits, "DCM"), "test", 0.2, 1)
    assert roles["patient003"] == "test" and "patient004" not in roles
    assert {roles["patient001"], roles["patient002"]} == {"train", "val"}


@pytest.mark.parametrize(
    ("benchmark", "scheme", "folds"),
    [
        (BenchmarkRule(), "nnunet", {f"fold_{number}": number for number in range(5)}),
        (BenchmarkRule(), "wsl4mis", {f"fold_{number}": number for number in range(1, 6)}),
        (BenchmarkRule(), "ssl4mis", {"test": None}),
        (BenchmarkRule("test"), "stratified", {"test": None}),
        (BenchmarkRule("auto", [2, 0, 2]), "stratified", {"fold_0": 0, "fold_2": 2}),
    ],
)
def test_the_folds_that_are_run(benchmark: BenchmarkRule, scheme: str, folds: dict[str, int | None]) -> None:
    assert benchmark.plan(scheme) == folds
    require_folds(benchmark, SplitRule(scheme=scheme), 100, 50)


@pytest.mark.parametrize(
    ("benchmark", "split", "patients", "tested", "message"),
    [
        (
            BenchmarkRule("folds"),
            SplitRule("ssl4mis"),
            100,
            20,
            "none given, and split.scheme ssl4mis has the folds none",
        ),
        (BenchmarkRule("auto", [0]), SplitRule("wsl4mis"), 100, 0, "0 given, and .* has the folds 1, 2, 3, 4, 5"),
        (BenchmarkRule("test"), SplitRule(), 100, 0, "there are none; add ACDC's testing patients"),
        (BenchmarkRule(), SplitRule(validation=0), 100, 0, "split.validation is 0"),
        (BenchmarkRule(), SplitRule(), 2, 0, "there are 2 training patients"),
        (BenchmarkRule("test"), SplitRule(), 1, 5, "there are 1 training patients"),
    ],
)
def test_a_benchmark_that_cannot_be_run_is_refused(
    benchmark: BenchmarkRule, split: SplitRule, patients: int, tested: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        require_folds(benchmark, split, patients, tested)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"patient001": "train", "patient002": "val"}, "fold_3 holds out no patient"),
        ({"patient001": "test", "patient002": "train"}, "1 patients to train on and 0 to choose the epoch by"),
    ],
)
def test_a_fold_without_patients_in_a_role_is_refused(roles: dict[str, str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        require_roles("fold_3", roles)


def write_tables(dataset: SmallDataset, folder: Path) -> dict[str, bytes]:
    """Write the tables of two folds of the tiny phantoms, and return their contents."""
    rows = read_sealed(dataset.output / "work/split.tsv")
    assert rows
    subsets = {path.parent.name: read_sealed(path)[0]["subset"] for path in dataset.tables}
    folds = {"fold_0": 0, "fold_1": 1}
    tables = {name: folder / name / "patients.tsv" for name in folds}
    write_folds(dataset.data / "manifest.tsv", tables, folder / "folds.tsv", folds, subsets, SplitRule())
    assert is_whole(folder / "folds.tsv")
    return {name: table.read_bytes() for name, table in tables.items()}


def test_a_table_follows_the_content_of_its_patients_and_nothing_else(small: SmallDataset, tmp_path: Path) -> None:
    before = write_tables(small, tmp_path)
    roles = {row["patient"]: row["split"] for row in read_sealed(tmp_path / "fold_0/patients.tsv")}
    assert sorted(roles) == ["patient001", "patient002", "patient003"]
    assert sorted(roles.values()) == ["test", "train", "val"]

    # Another split of the published dataset moves its files, and leaves the folds as they are.
    small.publish(seed=3)
    assert write_tables(small, tmp_path) == before

    manifest = small.data / "manifest.tsv"
    rows = read_table(manifest)
    rows[0] = rows[0] | {"mask_sha256": "0" * 64}
    write_table(manifest, MANIFEST_COLUMNS, rows)
    assert write_tables(small, tmp_path) != before
