"""What training and evaluation require of the configuration, so that a run can refuse it before the first job."""

from acdc_medsam.errors import ConfigError
from acdc_medsam.stages.split import validation_count


def require_validation_slices(patients: int, unit: str, validation: float) -> None:
    """Refuse a split that gives training no validation slices to choose its best epoch by.

    Args:
        patients: Number of ACDC's training patients.
        unit: What is split, ``patient`` or ``slice``.
        validation: Share of the units that is kept for validation.

    Raises:
        ConfigError: No slice would be kept for validation.
    """
    # How many slices there will be is not known yet, but a patient has more than one.
    units = patients if unit == "patient" else 2 * patients
    if not validation_count(units, validation):
        raise ConfigError(
            "training needs slices of 'val' to choose its best epoch by, and there will be none: "
            f"split.validation is {validation}, and there are {patients} training patients.\n"
            "Set split.validation in config.yaml, to 0.2 for example; at least two training patients are needed."
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
