"""What training and evaluation require of the configuration, so that a run can refuse it before the first job."""

from collections.abc import Collection

from acdc_medsam.errors import ConfigError
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.stages.stratified import validation_count


def require_validation_slices(rule: SplitRule, patients: int, splits: Collection[str]) -> None:
    """Refuse a split that gives training no slices, or no validation slices to choose its best epoch by.

    Args:
        rule: How the dataset is split.
        patients: Number of patients of ``training``.
        splits: Splits of the patients, as far as they are known before any job runs.

    Raises:
        ConfigError: No slice would be kept for training or for validation.
    """
    absent = [split for split in ("train", "val") if split not in splits]
    if splits and absent:
        raise ConfigError(
            f"training needs patients in 'train' and 'val', and split.scheme {rule.name} puts none of these patients "
            f"in {' and '.join(map(repr, absent))}; choose another split.fold or split.scheme in config.yaml"
        )
    if not rule.is_share:
        return

    # How many slices there will be is not known yet, but a patient has more than one.
    units = patients if rule.unit == "patient" else 2 * patients
    if not validation_count(units, rule.validation):
        raise ConfigError(
            "training needs slices of 'val' to choose its best epoch by, and there will be none: "
            f"split.validation is {rule.validation}, and there are {patients} training patients.\n"
            "Set split.validation in config.yaml, to 0.2 for example; at least two training patients are needed."
        )


def require_budget(rule: SplitRule, patients: int, splits: Collection[str], budget: int | None) -> None:
    """Refuse to train on more patients than there can be on the training side.

    Args:
        rule: How the dataset is split.
        patients: Number of patients of ``training``.
        splits: Split of each patient, empty where it is not known before any job runs.
        budget: Number of patients to train on; None for all.

    Raises:
        ConfigError: There are fewer patients to train on.
    """
    if budget is None:
        return

    if splits:
        most = list(splits).count("train")
    elif rule.is_share and rule.unit == "patient":
        most = patients - validation_count(patients, rule.validation)
    else:
        # How many patients a fold holds depends on the pathology groups; a split by slice takes slices of all patients.
        most = patients
    if budget > most:
        raise ConfigError(
            f"train.patients is {budget}, and the split leaves {most} patients to train on at most; set it to {most} "
            "or less in config.yaml, or to null for all patients"
        )


def require_whole_patients(unit: str) -> None:
    """Refuse a split that leaves no patient of the validation split unseen by training.

    Args:
        unit: What is split, ``patient`` or ``slice``.

    Raises:
        ConfigError: The split is by slice.
    """
    if unit == "slice":
        raise ConfigError(
            "evaluation measures whole patients, and with split.unit: slice the patients of 'val' are in 'train' too.\n"
            "Set 'split: {unit: patient}' in config.yaml. The target 'train' takes either; its log has the Dice of "
            "validation slices."
        )
