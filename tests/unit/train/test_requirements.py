import pytest

from acdc_medsam.errors import ConfigError
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.train.requirements import require_budget, require_validation_slices, require_whole_patients


@pytest.mark.parametrize(
    ("patients", "unit", "validation"), [(2, "patient", 0.2), (1, "slice", 0.2), (100, "slice", 1)]
)
def test_a_split_with_validation_slices_is_enough_for_training(patients: int, unit: str, validation: float) -> None:
    require_validation_slices(SplitRule(unit=unit, validation=validation), patients, ())


@pytest.mark.parametrize(("patients", "unit", "validation"), [(1, "patient", 0.2), (0, "slice", 0.2), (9, "slice", 0)])
def test_training_without_validation_slices_is_refused(patients: int, unit: str, validation: float) -> None:
    with pytest.raises(ConfigError, match=f"split.validation is {validation}, and there are {patients} training"):
        require_validation_slices(SplitRule(unit=unit, validation=validation), patients, ())


@pytest.mark.parametrize("rule", [SplitRule("nnunet", 0), SplitRule("ssl4mis"), SplitRule("file")])
def test_a_scheme_that_leaves_train_or_val_empty_is_refused(rule: SplitRule) -> None:
    require_validation_slices(rule, 1, {"train", "val", ""})
    with pytest.raises(ConfigError, match=f"split.scheme {rule.name} puts none of these patients in 'val'; choose"):
        require_validation_slices(rule, 100, {"train", "test"})
    with pytest.raises(ConfigError, match="in 'train' and 'val'; choose"):
        require_validation_slices(rule, 100, {""})


def test_a_stratified_fold_is_taken_as_it_is() -> None:
    require_validation_slices(SplitRule(fold=0), 1, ())


def test_evaluation_needs_a_split_by_patient() -> None:
    require_whole_patients("patient")
    with pytest.raises(ConfigError, match=r"with split\.unit: slice the patients of 'val' are in 'train' too"):
        require_whole_patients("slice")


@pytest.mark.parametrize(
    ("rule", "splits", "most"),
    [
        (SplitRule(), [], 80),
        (SplitRule(unit="slice"), [], 100),
        (SplitRule(fold=0), [], 100),
        (SplitRule("ssl4mis"), ["train"] * 70 + ["val"] * 10 + ["test"] * 20, 70),
    ],
)
def test_more_patients_than_there_are_to_train_on_are_refused(rule: SplitRule, splits: list[str], most: int) -> None:
    require_budget(rule, 100, splits, None)
    require_budget(rule, 100, splits, most)
    with pytest.raises(ConfigError, match=rf"train\.patients is {most + 1}, and the split leaves {most} patients"):
        require_budget(rule, 100, splits, most + 1)
