"""Splits of ACDC's 100 training patients that other projects have published, by the number of the patient.

A new one is a function that divides the patients, and an entry in PUBLISHED_SPLITS. docs/splits.md lists the patients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acdc_medsam.acdc.labels import GROUP_SIZE, GROUPS

PATIENTS = range(1, GROUP_SIZE * len(GROUPS) + 1)
"""Numbers of ACDC's training patients."""

SSL4MIS_TRAIN = (
    *(99, 38, 50, 100, 58, 21, 49, 20, 72, 40, 60, 89, 4, 56, 98, 96, 31, 18, 94, 47, 48, 55, 97, 74, 43, 41, 63, 37),
    *(95, 54, 26, 88, 32, 69, 6, 71, 12, 73, 61, 17, 25, 10, 57, 29, 51, 5, 36, 46, 62, 34, 76, 92, 70, 77, 67, 3),
    *(91, 16, 14, 44, 42, 90, 53, 27, 35, 86, 23, 9, 79, 15),
)
"""Patients of ``train`` in the order of train.list, whose first lines SSL4MIS takes as labeled."""

SSL4MIS_VAL = (2, 19, 28, 30, 39, 45, 78, 82, 85, 87)
SSL4MIS_TEST = (1, 7, 8, 11, 13, 22, 24, 33, 52, 59, 64, 65, 66, 68, 75, 80, 81, 83, 84, 93)


@dataclass(frozen=True)
class PublishedSplit:
    """A published split of the training patients.

    Attributes:
        divide: Function from the number of a fold, or None, to the split of each patient in PATIENTS.
        folds: Numbers of the folds; none if the split has no folds.
        source: Repository, file and function that publish the split.
        note: What readers of its results have to know.
        testing: Split of the patients of ``testing``, or an empty text if they are in none.
        order: Training patients in the order of the source; empty if the order means nothing.
    """

    divide: Callable[[int | None], dict[int, str]]
    folds: range
    source: str
    note: str
    testing: str
    order: Sequence[int] = ()

    def fold_of_patients(self) -> dict[int, int]:
        """Return the fold in which each patient is in ``val``; empty if the split has no folds."""
        sides = ((fold, self.divide(fold)) for fold in self.folds)
        return {number: fold for fold, side in sides for number, split in side.items() if split == "val"}


def divide_like_nnunet(fold: int | None) -> dict[int, str]:
    """Divide the patients like nnU-Net v2.

    Source: MIC-DKFZ/nnUNet, nnunetv2/dataset_conversion/Dataset027_ACDC.py, function ``create_ACDC_split``. It sorts
    the patients that have labels, shuffles them by ``numpy.random.RandomState(1234)``, and takes ``patients[fold::5]``
    for validation. With fewer or other patients it therefore makes other folds, which are comparable with nobody's.
    Here, each patient has the fold that it has among all 100, whichever patients are at hand.

    Args:
        fold: Number of the fold, 0 to 4.

    Returns:
        Number of the patient -> ``train`` or ``val``.
    """
    patients = np.array(PATIENTS)
    # The function draws the same numbers for any array of 100, so that numbers and names are shuffled alike. NumPy
    # guarantees that the sequence of this old generator never changes.
    np.random.RandomState(1234).shuffle(patients)
    validation = {int(number) for number in patients[fold::5]}
    return {number: "val" if number in validation else "train" for number in PATIENTS}


def divide_like_ssl4mis(fold: int | None) -> dict[int, str]:
    """Divide the patients like SSL4MIS: 70 to train, 10 to validate, 20 to test.

    Source: HiLab-git/SSL4MIS, files train.list, val.list and test.list in data/ACDC.

    Args:
        fold: None, because there are no folds.

    Returns:
        Number of the patient -> ``train``, ``val`` or ``test``.
    """
    sides = {"train": SSL4MIS_TRAIN, "val": SSL4MIS_VAL, "test": SSL4MIS_TEST}
    return {number: split for split, numbers in sides.items() for number in numbers}


def divide_like_wsl4mis(fold: int | None) -> dict[int, str]:
    """Divide the patients like WSL4MIS: fold k validates on patients 20 (k - 1) + 1 to 20 k.

    Source: HiLab-git/WSL4MIS, code/dataloaders/dataset.py, function ``BaseDataSets._get_fold_ids``. What it calls the
    testing set is what ``BaseDataSets(split="val")`` reads, by which train_weakly_supervised_pCE_2D.py chooses the
    best model, and what test_2D_fully.py then measures. So it is ``val`` here, and ``test`` is not part of this split.

    Args:
        fold: Number of the fold, 1 to 5.

    Returns:
        Number of the patient -> ``train`` or ``val``.
    """
    group = (fold or 1) - 1
    return {number: "val" if (number - 1) // GROUP_SIZE == group else "train" for number in PATIENTS}


PUBLISHED_SPLITS: Mapping[str, PublishedSplit] = {
    "nnunet": PublishedSplit(
        divide=divide_like_nnunet,
        folds=range(5),
        source="MIC-DKFZ/nnUNet, nnunetv2/dataset_conversion/Dataset027_ACDC.py, create_ACDC_split",
        note="results are comparable with nnU-Net's of the same fold, or over all five folds",
        testing="test",
    ),
    "ssl4mis": PublishedSplit(
        divide=divide_like_ssl4mis,
        folds=range(0),
        source="HiLab-git/SSL4MIS, data/ACDC/train.list, val.list and test.list",
        note="test is 20 of ACDC's training patients, and patients of testing/ are in no split",
        testing="",
        order=SSL4MIS_TRAIN,
    ),
    "wsl4mis": PublishedSplit(
        divide=divide_like_wsl4mis,
        folds=range(1, 6),
        source="HiLab-git/WSL4MIS, code/dataloaders/dataset.py, BaseDataSets._get_fold_ids",
        note=(
            "val is one pathology group, of which train has no patient, and the patients that are measured have chosen "
            "the best epoch"
        ),
        testing="test",
    ),
}
"""Published splits by the name that they have in the configuration, ``split.scheme``."""
