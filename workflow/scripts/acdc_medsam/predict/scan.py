"""A scan that is to be segmented, and the same scan with its masks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acdc_medsam.formats.png import Gray

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scan:
    """A short-axis scan: one volume, or the volumes of a cine over one heart beat.

    Attributes:
        name: The scan's name, unique in a run and safe as a file name, such as ``patient001_4d``.
        subject: The person's name, such as ``patient001``: single frames of one subject belong together.
        images: Normalized gray values (T, Z, H, W), 0..255; T is 1 for a single volume.
        spacing: Voxel spacing (z, y, x) in mm.
        frame_seconds: Time between two frames of a cine in seconds; None if it is unknown or T is 1.
        phases: For each frame ED, ES or None, as the name of the file or the patient's Info.cfg says.
        notes: Remarks on the header.
    """

    name: str
    subject: str
    images: Gray
    spacing: tuple[float, float, float]
    frame_seconds: float | None
    phases: tuple[str | None, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segmented:
    """A scan and the masks that were predicted for it.

    Attributes:
        scan: The scan.
        labels: Labels (T, Z, H, W) in {0, 1, 2, 3} as in ``acdc.labels.LABELS``.
    """

    scan: Scan
    labels: Labels
