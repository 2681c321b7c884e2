"""ACDC's labels, phases and pathology groups: values, names and colors.

Source: O. Bernard et al., IEEE TMI 37(11), 2018.
"""

LABELS = {"RV": 1, "MYO": 2, "LV": 3}
"""Structure -> label value; 0 is background."""

GROUPS = ("DCM", "HCM", "MINF", "NOR", "RV")
"""Pathology groups, see GROUP_NAMES."""

UNKNOWN_GROUP = "unknown"
"""Group of a patient whose pathology is not known; Info.cfg always names one of GROUPS."""

GROUP_SIZE = 20
"""Number of training patients of each group. ACDC numbers them group by group, in the order of GROUPS."""

PHASES = ("ED", "ES")
"""The two annotated frames of every patient, see PHASE_NAMES."""

COLORS = {"RV": "#56b4e9", "MYO": "#d55e00", "LV": "#f0e442"}
"""Contour colors that color-blind people can tell apart: M. Okabe and K. Ito, Color Universal Design, 2008."""

STRUCTURE_NAMES = {"RV": "right ventricle", "MYO": "myocardium", "LV": "left ventricle"}

MASK_VALUES = ", ".join(["0 background", *(f"{value} {STRUCTURE_NAMES[key]}" for key, value in LABELS.items())])
"""What each value of a mask stands for, in words."""

PHASE_NAMES = {"ED": "end-diastole", "ES": "end-systole"}

GROUP_NAMES = {
    "DCM": "dilated cardiomyopathy",
    "HCM": "hypertrophic cardiomyopathy",
    "MINF": "myocardial infarction",
    "NOR": "normal",
    "RV": "abnormal right ventricle",
    UNKNOWN_GROUP: "unknown",
}


def assume_group(number: int) -> str:
    """Return the group that ACDC's numbering implies for a training patient: 1 to 20 are DCM, 21 to 40 HCM, ...

    Args:
        number: Number of the patient.

    Returns:
        One of GROUPS, or UNKNOWN_GROUP for the testing patients and all others, whose numbers imply nothing.
    """
    index = (number - 1) // GROUP_SIZE
    return GROUPS[index] if 0 <= index < len(GROUPS) else UNKNOWN_GROUP
