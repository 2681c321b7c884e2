"""The published splits, compared with what their sources contain."""

import re
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.acdc.labels import assume_group
from acdc_medsam.acdc.splits import PATIENTS, PUBLISHED_SPLITS, PublishedSplit

DOCUMENT = (Path(__file__).parents[3] / "docs/splits.md").read_text(encoding="utf-8")

# What create_ACDC_split of nnU-Net writes into splits_final.json for the labels of patients 001 to 100.
NNUNET_VAL = [
    [5, 7, 10, 20, 22, 27, 32, 34, 41, 46, 47, 51, 53, 59, 68, 69, 73, 75, 77, 88],
    [3, 14, 19, 21, 24, 36, 37, 45, 52, 54, 60, 61, 63, 65, 86, 91, 93, 97, 98, 100],
    [2, 4, 6, 8, 9, 11, 15, 26, 28, 30, 35, 39, 50, 64, 67, 71, 74, 82, 90, 92],
    [1, 16, 18, 38, 40, 42, 44, 55, 56, 62, 66, 72, 80, 81, 84, 85, 87, 89, 94, 95],
    [12, 13, 17, 23, 25, 29, 31, 33, 43, 48, 49, 57, 58, 70, 76, 78, 79, 83, 96, 99],
]

# val.list and test.list of SSL4MIS, one patient for its two lines, in the order of the lines.
SSL4MIS_VAL_LIST = "028 085 082 087 019 030 078 045 002 039"
SSL4MIS_TEST_LIST = "011 013 084 033 093 022 068 024 083 081 080 001 007 066 008 065 075 064 059 052"
SSL4MIS_TRAIN_LIST = """
099 038 050 100 058 021 049 020 072 040 060 089 004 056 098 096 031 018 094 047 048 055 097 074 043 041 063 037 095 054
026 088 032 069 006 071 012 073 061 017 025 010 057 029 051 005 036 046 062 034 076 092 070 077 067 003 091 016 014 044
042 090 053 027 035 086 023 009 079 015
"""


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def of_split(published: PublishedSplit, fold: int | None, split: str) -> list[int]:
    return [number for number, side in published.divide(fold).items() if side == split]


@pytest.mark.parametrize("fold", range(5))
def test_nnunet(fold: int) -> None:
    published = PUBLISHED_SPLITS["nnunet"]
    assert sorted(of_split(published, fold, "val")) == NNUNET_VAL[fold]
    assert of_split(published, fold, "test") == []

    # As the source does it, with names.
    names = np.unique([f"patient{number:03d}" for number in PATIENTS])
    np.random.RandomState(1234).shuffle(names)
    assert {f"patient{number:03d}" for number in of_split(published, fold, "val")} == set(names[fold::5])


def test_ssl4mis() -> None:
    published = PUBLISHED_SPLITS["ssl4mis"]
    assert sorted(of_split(published, None, "val")) == sorted(numbers(SSL4MIS_VAL_LIST))
    assert sorted(of_split(published, None, "test")) == sorted(numbers(SSL4MIS_TEST_LIST))
    assert of_split(published, None, "train") == list(published.order) == numbers(SSL4MIS_TRAIN_LIST)


@pytest.mark.parametrize(("fold", "first", "group"), [(1, 1, "DCM"), (2, 21, "HCM"), (5, 81, "RV")])
def test_wsl4mis_validates_on_one_group(fold: int, first: int, group: str) -> None:
    in_val = of_split(PUBLISHED_SPLITS["wsl4mis"], fold, "val")
    assert in_val == list(range(first, first + 20))
    assert {assume_group(number) for number in in_val} == {group}


@pytest.mark.parametrize("scheme", PUBLISHED_SPLITS)
def test_a_published_split_divides_all_patients(scheme: str) -> None:
    published = PUBLISHED_SPLITS[scheme]
    assert list(PATIENTS) == list(range(1, 101))
    for fold in published.folds or [None]:
        sides = published.divide(fold)
        assert sorted(sides) == list(PATIENTS)
        assert {"train", "val"} <= set(sides.values()) <= {"train", "val", "test"}


@pytest.mark.parametrize("scheme", [name for name, published in PUBLISHED_SPLITS.items() if published.folds])
def test_each_patient_is_in_val_in_one_fold(scheme: str) -> None:
    published = PUBLISHED_SPLITS[scheme]
    folds = published.fold_of_patients()
    assert sorted(folds) == list(PATIENTS)
    assert all(published.divide(fold)[number] == "val" for number, fold in folds.items())
    assert sum(len(of_split(published, fold, "val")) for fold in published.folds) == len(PATIENTS)


def test_a_split_without_folds_has_none() -> None:
    assert PUBLISHED_SPLITS["ssl4mis"].fold_of_patients() == {}


def ranges(text: str) -> list[int]:
    """Parse numbers and ranges of numbers: ``001 to 003, 007`` or ``001 003``."""
    found: list[int] = []
    for first, last in re.findall(r"(\d{3})(?: to (\d{3}))?", text):
        found += range(int(first), int(last or first) + 1)
    return found


def test_the_document_lists_the_patients_of_each_split() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d|) *\| `(train|val|test)` \| ([\d, to]+) \|$", DOCUMENT, re.MULTILINE)
    listed = {(scheme, int(fold) if fold else None, split): ranges(text) for scheme, fold, split, text in rows}
    wanted = {
        (scheme, fold, split): sorted(of_split(published, fold, split))
        for scheme, published in PUBLISHED_SPLITS.items()
        for fold in published.folds or [None]
        # With folds, all others are in train.
        for split in (("val",) if published.folds else ("train", "val", "test"))
    }
    assert listed == wanted


@pytest.mark.parametrize("scheme", PUBLISHED_SPLITS)
def test_the_document_names_the_source_of_each_split(scheme: str) -> None:
    repository = PUBLISHED_SPLITS[scheme].source.split(",")[0]
    assert f"https://github.com/{repository}" in DOCUMENT
