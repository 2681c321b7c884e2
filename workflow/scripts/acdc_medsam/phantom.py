"""Synthetic short-axis cine patients in ACDC's raw layout, for the demo, the tests and benchmarks.

Drawn in millimetres from simple shapes: a chest with lungs, diaphragm and fat, and a heart whose sizes follow its
pathology group. Sizes are typical ones of S. E. Petersen et al., J Cardiovasc Magn Reson 19:18, 2017, rounded; the
pictures are for software to work on, not for conclusions about hearts.
"""

import argparse
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from acdc_medsam.dataset import GROUPS, LABELS, PHASES, volume_name
from acdc_medsam.files import write_bytes

Plane = npt.NDArray[np.float64]
Random = np.random.Generator

SIZES = ((216, 256), (256, 216), (224, 224), (168, 224), (208, 256))
"""In-plane sizes (x, y) that occur in ACDC."""

FIELD_OF_VIEW = 340.0
"""Shorter side of a picture in mm."""

GRAY = {"air": 0.01, "fat": 0.85, "muscle": 0.24, "lung": 0.06, "liver": 0.3, "gut": 0.5, "blood": 0.8, "vein": 0.62}
"""Brightness of tissues in a balanced steady-state free precession cine, 1 being the brightest."""


@dataclass(frozen=True)
class Heart:
    """A heart at one phase; lengths in mm.

    Attributes:
        cavity: radius of the left ventricle's cavity at its widest.
        wall: thickness of its wall.
        septum: what the septum is thicker by.
        scar: what the wall is thinner by, in a sector of it.
        right: how much wider than normal the right ventricle is.
    """

    cavity: float
    wall: float
    septum: float = 0.0
    scar: float = 0.0
    right: float = 1.0


HEARTS = {
    "DCM": (Heart(33, 7.5), Heart(30, 8.5)),
    "HCM": (Heart(22, 13, septum=7), Heart(12, 18, septum=8)),
    "MINF": (Heart(27, 9, scar=4.5), Heart(22, 11, scar=6.5)),
    "NOR": (Heart(25, 8.5), Heart(16, 13)),
    "RV": (Heart(23, 8.5, right=1.5), Heart(16, 12, right=1.4)),
}
"""Group -> heart at end-diastole and at end-systole."""


class Canvas:
    """A picture being painted: x and y in mm from the left ventricle's axis, brightness, and labels."""

    def __init__(self, x: Plane, y: Plane, pixel: float) -> None:
        self.x, self.y, self.pixel = x, y, pixel
        self.radius, self.angle = np.hypot(x, y), np.arctan2(y, x)
        self.brightness = np.full(x.shape, GRAY["air"])
        self.label = np.zeros(x.shape, np.uint8)

    def paint(self, distance: Plane, value: float | Plane, label: int | None = None) -> None:
        """Paint where the signed distance in mm is negative; edges are softened over a pixel, labels are not."""
        near = distance < 2 * self.pixel
        cover = 1 / (1 + np.exp(np.maximum(4 * distance[near] / self.pixel, -50)))
        self.brightness[near] += cover * (np.broadcast_to(value, near.shape)[near] - self.brightness[near])
        if label is not None:
            self.label[distance < 0] = label

    def ellipse(self, x: float, y: float, a: float, b: float, tilt: float = 0.0) -> Plane:
        """Signed distance, nearly, to an ellipse at (x, y) with half axes a and b, turned by ``tilt`` radians."""
        dx, dy = self.x - x, self.y - y
        u = np.cos(tilt) * dx + np.sin(tilt) * dy
        v = np.cos(tilt) * dy - np.sin(tilt) * dx
        return np.asarray((np.hypot(u / a, v / b) - 1) * min(a, b))


def smooth_noise(shape: tuple[int, ...], width: float, random: Random) -> Plane:
    """Noise of standard deviation 1 whose structures are ``width`` pixels wide."""
    noise = gaussian_filter(random.standard_normal(shape), width, mode="wrap")
    return np.asarray(noise / noise.std())


def paint_chest(canvas: Canvas, depth: float, random: Random) -> None:
    """Paint chest wall, lungs, and what lies below the diaphragm; ``depth`` runs from 0 at the base to 1."""
    texture = smooth_noise(canvas.x.shape, 4 / canvas.pixel + 1, random)
    wave = 6 * np.sin(3 * canvas.angle + 1) + 4 * np.sin(5 * canvas.angle)
    body = canvas.ellipse(-8 * depth, 12, 128, 190) + wave
    canvas.paint(body, GRAY["fat"] + 0.04 * texture)
    canvas.paint(body + 17 + 5 * np.cos(canvas.angle), GRAY["muscle"] + 0.03 * texture)
    canvas.paint(body + 30, GRAY["lung"] + 0.012 * texture)
    for _ in range(14):
        x, y = random.uniform(-70, 75), random.uniform(-120, -35)
        canvas.paint(canvas.ellipse(x, y, random.uniform(1.5, 4), random.uniform(1.5, 4)), GRAY["vein"])
    floor = 32 - 22 * depth + 0.16 * canvas.x + 8 * np.sin(canvas.x / 45)
    below = np.maximum(floor - canvas.y, body + 24)
    canvas.paint(below, GRAY["liver"] + 0.03 * texture)
    for _ in range(10):
        x, y = random.uniform(-75, 75), random.uniform(70, 150)
        shape = canvas.ellipse(x, y, random.uniform(8, 22), random.uniform(6, 14), random.uniform(0, 3))
        canvas.paint(np.maximum(shape, below + 6), random.choice([GRAY["gut"], GRAY["fat"], GRAY["muscle"]]))
    canvas.paint(np.maximum(np.abs(floor - canvas.y + 3) - 2.5, body + 30), GRAY["fat"] * 0.8)


def paint_ventricles(canvas: Canvas, heart: Heart, depth: float, random: Random) -> None:
    """Paint and label both ventricles at ``depth``: 0 at the base, 1 at the apex."""
    taper = np.sqrt(max(1 - 0.9 * depth**2.2, 0.05))
    angle = canvas.angle
    # The septum faces the right ventricle, which lies to the left in the picture; the scar lies opposite, below.
    septal, scarred = np.maximum(-np.cos(angle), 0) ** 2, np.maximum(np.cos(angle - 0.9), 0) ** 3
    wavy = 1 + 0.02 * np.cos(2 * angle + 1) + 0.015 * np.cos(3 * angle)
    endo = heart.cavity * taper * wavy
    wall = (heart.wall + heart.septum * septal - heart.scar * scarred) * (0.75 + 0.25 * taper)
    inner, outer = canvas.radius - endo, canvas.radius - endo - wall
    texture = smooth_noise(canvas.x.shape, 3 / canvas.pixel + 0.5, random)

    # A crescent: an ellipse that the left ventricle covers in part, thinner towards the apex.
    reach = (heart.cavity + heart.wall) * taper
    width, height = 30 * heart.right * (1.05 - 0.8 * depth), 1.1 * reach * np.sqrt(heart.right)
    right = canvas.ellipse(0.25 * reach - width, 5 + 4 * depth, reach, height, 0.2)
    canvas.paint(np.minimum(right, outer) - 4, GRAY["fat"] * 0.75)
    canvas.paint(right - 2.5, GRAY["muscle"])
    canvas.paint(right, GRAY["vein"] + 0.05 * texture, LABELS["RV"])
    canvas.paint(outer, GRAY["muscle"] * 0.8 + 0.02 * texture, LABELS["MYO"])
    canvas.paint(inner, GRAY["blood"] + 0.06 * texture, LABELS["LV"])
    if 0.2 < depth < 0.85:
        for direction in (0.5, 2.4):
            x, y = (0.68 * heart.cavity * taper * turn(direction) for turn in (np.cos, np.sin))
            canvas.paint(canvas.ellipse(x, y, 0.16 * heart.cavity, 0.12 * heart.cavity), GRAY["muscle"])


def paint_atria(canvas: Canvas, heart: Heart) -> None:
    """Paint atria and the aorta's root above the base; they have no label."""
    canvas.paint(canvas.ellipse(0, 0, heart.cavity + 12, heart.cavity + 14), GRAY["fat"] * 0.6)
    canvas.paint(canvas.ellipse(8, 8, heart.cavity * 0.8, heart.cavity * 0.7), GRAY["blood"] * 0.9)
    canvas.paint(canvas.ellipse(-heart.cavity, 12, heart.cavity * 0.8, heart.cavity), GRAY["vein"])
    canvas.paint(canvas.ellipse(-10, -12, 15, 15), GRAY["muscle"])
    canvas.paint(canvas.ellipse(-10, -12, 13, 13), GRAY["blood"])


def draw_slices(
    heart: Heart,
    size: tuple[int, int],
    pixel: float,
    levels: list[float],
    centre: tuple[float, float],
    anatomy: int,
    random: Random,
) -> Iterator[tuple[Plane, npt.NDArray[np.uint8]]]:
    """Draw a phase slice by slice.

    Args:
        heart: the heart at that phase.
        size: (x, y) in pixels.
        pixel: their size in mm.
        levels: depth of each slice; below 0 it lies above the base, above 1 below the apex.
        centre: where the left ventricle's axis lies, in mm from the picture's centre.
        anatomy: seed of all that is the same in every slice and phase of a patient.
        random: source of the noise.

    Yields:
        Brightness, about 0 to 1, and label, both (y, x).
    """
    x, y = ((np.arange(n) - (n - 1) / 2) * pixel - c for n, c in zip(size, centre, strict=True))
    planes = np.meshgrid(x, y)
    field = smooth_noise((size[1], size[0]), max(size) / 4, np.random.default_rng(anatomy))
    coils = np.exp(0.22 * field - 0.0012 * np.hypot(*planes))
    for level in levels:
        canvas = Canvas(planes[0], planes[1], pixel)
        paint_chest(canvas, float(np.clip(level, 0, 1)), np.random.default_rng(anatomy))
        if level < 0:
            paint_atria(canvas, heart)
        elif level <= 1:
            paint_ventricles(canvas, heart, level, random)
        signal = gaussian_filter(canvas.brightness, 0.5) * coils
        noise = random.normal(0, 0.016, (2, *signal.shape))
        yield np.hypot(signal + noise[0], noise[1]), canvas.label  # Rician, as the magnitude of a complex signal is


def phase_levels(depth: int, systole: bool) -> list[float]:
    """Depth of each slice between base (0) and apex (1); the end slices lie outside, two at the base in systole."""
    first = 2 if systole and depth >= 8 else 1
    last = depth - 2 if depth > 3 else depth - 1
    inside = max(last - first + 1, 1)
    return [(z - first + 0.5) / inside if first <= z <= last else -1.0 if z < first else 2.0 for z in range(depth)]


def write_patient(folder: Path, number: int, seed: int, in_plane: tuple[int, int] | None, depth: int | None) -> Path:
    """Write one patient; its files depend on seed and number alone (and on the sizes, where they are given)."""
    random = np.random.default_rng([seed, number])
    group = GROUPS[(number - 1) % len(GROUPS)]
    size = in_plane or SIZES[int(random.integers(len(SIZES)))]
    slices = depth or int(random.integers(8, 12))
    pixel, thickness = FIELD_OF_VIEW / min(size), 10.0 if random.random() < 0.8 else 5.0
    # Five consecutive numbers have all groups; the next five have the other kind of voxels.
    integer = ((number - 1) // len(GROUPS)) % 2 == 0
    scale, growth = random.uniform(250, 900), random.normal(1, 0.05)
    centre = (float(random.uniform(-12, 12)), float(random.uniform(-25, 5)))
    anatomy = int(random.integers(2**32))
    frames = (1 if random.random() < 0.9 else 4, int(random.integers(8, 14)))
    patient = folder / f"patient{number:03d}"
    for phase, frame, typical in zip(PHASES, frames, HEARTS[group], strict=True):
        heart = replace(typical, cavity=typical.cavity * growth, wall=typical.wall * growth)
        drawn = list(draw_slices(heart, size, pixel, phase_levels(slices, phase == "ES"), centre, anatomy, random))
        voxels = np.stack([image for image, _ in drawn]) * scale
        stem = patient / volume_name(patient.name, frame)
        spacing = (pixel, pixel, thickness)
        kept = np.rint(voxels).astype(np.int16) if integer else voxels.astype(np.float32)
        write_nifti(stem.with_name(f"{stem.name}.nii.gz"), kept, spacing)
        write_nifti(stem.with_name(f"{stem.name}_gt.nii.gz"), np.stack([label for _, label in drawn]), spacing)
    facts = {"ED": frames[0], "ES": frames[1], "Group": group, "Height": f"{random.normal(171, 9):.1f}"}
    facts |= {"NbFrame": 30, "Weight": f"{random.normal(76, 12):.1f}"}
    write_bytes(patient / "Info.cfg", "".join(f"{key}: {value}\n" for key, value in facts.items()).encode())
    return patient


def write_nifti(path: Path, voxels: npt.NDArray[np.generic], spacing: tuple[float, float, float]) -> None:
    """Write (Z, Y, X) voxels as ACDC has them: (X, Y, Z), axes to left, posterior and superior, qform alone."""
    image = nib.Nifti1Image(voxels.transpose(2, 1, 0), None)
    image.set_qform(np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]), code=1)
    image.header.set_xyzt_units("mm", "sec")
    # Neither time nor name goes into the file, so that the same patient always has the same bytes.
    write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def write_cohort(
    folder: Path,
    patients: int = 10,
    seed: int = 2026,
    first: int = 1,
    testing: int = 0,
    in_plane: tuple[int, int] | None = None,
    depth: int | None = None,
) -> list[Path]:
    """Write patients in ACDC's raw layout.

    Args:
        folder: gets ``training/`` and, where there are testing patients, ``testing/``.
        patients: number of training patients.
        seed: of everything random.
        first: number of the first patient.
        testing: number of testing patients, numbered on.
        in_plane: (x, y) size in pixels, drawn for each patient if None; the field of view stays.
        depth: number of slices, drawn for each patient if None.

    Returns:
        The patients' folders.
    """
    last = first + patients
    places = [(folder / "training", number) for number in range(first, last)]
    places += [(folder / "testing", number) for number in range(last, last + testing)]
    return [write_patient(place, number, seed, in_plane, depth) for place, number in places]


def main() -> None:
    """Write a cohort as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m acdc_medsam.phantom", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets training/ and testing/")
    parser.add_argument("--patients", type=int, default=10, help="training patients (default: 10)")
    parser.add_argument("--testing", type=int, default=0, help="testing patients (default: none)")
    parser.add_argument("--seed", type=int, default=2026, help="seed (default: 2026)")
    options = parser.parse_args()
    folders = write_cohort(options.out, options.patients, options.seed, testing=options.testing)
    print(f"{len(folders)} synthetic patients in {options.out}")


if __name__ == "__main__":
    main()
