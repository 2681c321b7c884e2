"""ACDC's labels, phases and pathology groups: values, names and colors.

Source: O. Bernard et al., IEEE TMI 37(11), 2018.
"""

LABELS = {"RV": 1, "MYO": 2, "LV": 3}
"""Structure -> label value; 0 is background."""

GROUPS = ("DCM", "HCM", "MINF", "NOR", "RV")
"""Pathology groups, see GROUP_NAMES."""

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
}
