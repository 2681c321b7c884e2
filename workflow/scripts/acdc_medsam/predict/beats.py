"""Which frames belong to one heart beat, and the function of the heart that follows from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acdc_medsam.acdc.labels import PHASES, STRUCTURE_NAMES
from acdc_medsam.measures.function import ejection_fraction

Description = Mapping[str, Any]
"""What describes a scan, see :func:`acdc_medsam.predict.description.describe_scan`."""

VENTRICLES = ("LV", "RV")


@dataclass(frozen=True)
class Beat:
    """A beat with a frame at end-diastole and one at end-systole.

    Attributes:
        ed: The frame at end-diastole, as the description of its scan has it.
        es: The frame at end-systole.
    """

    ed: Mapping[str, Any]
    es: Mapping[str, Any]

    def stroke_volume(self, ventricle: str) -> float:
        """Compute the volume in ml that LV or RV ejects."""
        key = f"{ventricle.lower()}_ml"
        return float(self.ed[key] - self.es[key])

    def ejection_fraction(self, ventricle: str) -> float | None:
        """Compute the ejection fraction of LV or RV in percent; None if it was not found at end-diastole."""
        key = f"{ventricle.lower()}_ml"
        return ejection_fraction(self.ed[key], self.es[key])


@dataclass(frozen=True)
class Examination:
    """A cine, or the single volumes of one person.

    Attributes:
        name: Name of the cine, or of the only volume, or of the person.
        scans: Descriptions of the scans, in order of their phases.
    """

    name: str
    scans: Sequence[Description]

    @property
    def phases(self) -> tuple[Mapping[str, Any] | None, ...]:
        """The frames at end-diastole and at end-systole, each None if it is not there, or twice."""
        frames = [frame for scan in self.scans for frame in scan["frames"]]
        found = ([frame for frame in frames if frame["phase"] == phase] for phase in PHASES)
        return tuple(of_phase[0] if len(of_phase) == 1 else None for of_phase in found)

    @property
    def beat(self) -> Beat | None:
        """The beat; None if one of its phases is not there, or twice."""
        ed, es = self.phases
        return Beat(ed, es) if ed and es else None

    @property
    def warnings(self) -> list[str]:
        """Warnings of the scans, with the names of the scans that they are about if not of all, and of the beat."""
        names: dict[str, list[str]] = {}
        for scan in self.scans:
            for warning in scan["warnings"]:
                names.setdefault(warning, []).append(scan["name"])
        listed = [
            warning if len(about) == len(self.scans) else f"{', '.join(about)}: {warning}"
            for warning, about in names.items()
        ]
        for ventricle in VENTRICLES:
            if self.beat is not None and self.beat.stroke_volume(ventricle) < 0:
                listed.append(f"The {STRUCTURE_NAMES[ventricle]} is larger at end-systole than at end-diastole.")
        return listed


def group_scans(descriptions: Iterable[Description]) -> list[Examination]:
    """Group scans into examinations: each cine is one, and so are all single volumes of a subject.

    Args:
        descriptions: Descriptions of the scans.

    Returns:
        The examinations in the order of the first scan of each.
    """
    groups = dict[tuple[str, bool], list[Description]]()
    for scan in descriptions:
        is_cine = len(scan["frames"]) > 1
        groups.setdefault((scan["name"] if is_cine else scan["subject"], is_cine), []).append(scan)

    examinations = []
    for (name, _), scans in groups.items():
        ordered = sorted(scans, key=lambda scan: (_phase_order(scan), scan["name"]))
        examinations.append(Examination(scans[0]["name"] if len(scans) == 1 else name, ordered))
    return examinations


def _phase_order(scan: Description) -> int:
    """Return where a scan stands among the single volumes of a subject: ED, ES, then those of an unknown phase."""
    phase = scan["frames"][0]["phase"]
    return PHASES.index(phase) if phase in PHASES else len(PHASES)
