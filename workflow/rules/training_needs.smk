# What training and evaluation need of the configuration; where it rules them out, that is said before any job runs.
from acdc_medsam.stages.split import validation_count

TRAINED = out(f"training/{ENCODER}/trained.tsv")


def trainable_manifest(wildcards):
    """The manifest, or a refusal before any job runs where no epoch could be told from another."""
    share, unit = config["split"]["validation"], config["split"]["unit"]
    training = sum(patient.subset == "training" for patient in PATIENTS.values())
    # How many slices there will be is not known yet, but a patient has more than one.
    if not validation_count(training if unit == "patient" else 2 * training, share):
        refuse(
            "training needs slices of 'val' to choose its best epoch by, and there will be none: "
            f"split.validation is {share}, and there are {training} training patients.",
            "Set split.validation in config.yaml, to 0.2 for example; at least two training patients are needed.",
        )
    return MANIFEST


def measurable_manifest(wildcards):
    """The manifest, or a refusal before any job runs where no validation patient could be measured whole."""
    if config["split"]["unit"] == "slice":
        refuse(
            "evaluation measures whole patients, and with split.unit: slice the patients of 'val' are in 'train' too.",
            "Set 'split: {unit: patient}' in config.yaml. The target 'train' takes either; its log has the Dice of "
            "validation slices.",
        )
    return MANIFEST
