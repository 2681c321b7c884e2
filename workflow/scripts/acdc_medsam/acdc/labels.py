"""What ACDC's labels, phases and groups are, as values, in words and as colours.

Source: O. Bernard et al., IEEE TMI 37(11), 2018.
"""

LABELS = {"RV": 1, "MYO": 2, "LV": 3}
"""Structure -> label value: right ventricle, myocardium, left ventricle; 0 is background."""

GROUPS = ("DCM", "HCM", "MINF", "NOR", "RV")
"""Pathology groups: dilated and hypertrophic cardiomyopathy, infarction, normal, abnormal right ventricle."""

PHASES = ("ED", "ES")
"""End-diastole and end-systole, the two annotated frames of every patient."""

COLORS = {"RV": "#56b4e9", "MYO": "#d55e00", "LV": "#f0e442"}
"""Contour colours that colour-blind people can tell apart: M. Okabe and K. Ito, Color Universal Design, 2008."""

STRUCTURE_NAMES = {"RV": "right ventricle", "MYO": "myocardium", "LV": "left ventricle"}

PHASE_NAMES = {"ED": "end-diastole", "ES": "end-systole"}

GROUP_NAMES = {
    "DCM": "dilated cardiomyopathy",
    "HCM": "hypertrophic cardiomyopathy",
    "MINF": "myocardial infarction",
    "NOR": "normal",
    "RV": "abnormal right ventricle",
}
