"""The synthetic patients' anatomy: where the voxels lie, what the hearts' outlines are, and the label that follows.

All in mm in the frame of the heart: u points to the back, v to the feet, both from the left ventricle's axis at half
its length; z runs from base to apex, as ACDC's slices do. Shapes are signed distances, negative inside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import LABELS

Float = npt.NDArray[np.floating[Any]]
"""Lengths and signals; float32 where there is one for every voxel."""

ANGLES = 720
"""Nodes of an outline r(angle) around the left ventricle's centre."""

SMALLEST_FIELD = 170.0
"""Field of view that still shows both ventricles, mm; tiny volumes get coarser voxels, not less of the heart."""


@dataclass(frozen=True)
class Pathology:
    """What a group does to the heart, at half its length.

    Lengths in mm at end-diastole: ``radius`` of the left ventricle's cavity, ``wall``, what the ``septum`` has more,
    ``rv`` how far the right ventricle reaches beyond the septum at the base. Shares: ``systole`` of the radius and
    ``rv_systole`` of the reach are left at end-systole, ``infarct`` of the wall is left in a sector that does not move.
    """

    radius: float
    wall: float
    septum: float = 0.0
    rv: float = 40.0
    systole: float = 0.67
    rv_systole: float = 0.62
    infarct: float = 1.0


PATHOLOGIES = {
    "DCM": Pathology(radius=34.0, wall=6.8, rv=34.0, systole=0.88, rv_systole=0.75),
    "HCM": Pathology(radius=23.0, wall=12.0, septum=6.0, rv=36.0, systole=0.52),
    "MINF": Pathology(radius=28.5, wall=8.8, rv=36.0, systole=0.76, infarct=0.68),
    "NOR": Pathology(radius=25.5, wall=8.5),
    "RV": Pathology(radius=24.0, wall=8.0, rv=54.0, systole=0.70, rv_systole=0.80),
}
"""By group; sizes as in Bernard et al. 2018, which defines the groups by volumes, ejection fraction and wall."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels lie, mm: ``u``, ``v`` (H, W), ``z`` (Z,) from the first slice; ``spacing`` is (x, y, z)."""

    u: Float
    v: Float
    z: Float
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class Heart:
    """One patient's heart; lengths in mm, angles in rad from u to v.

    ``size`` scales what the pathology says. ``apex`` is the z of the tip and ``length`` the distance from there to
    the base at end-diastole, which systole shortens by the share ``shortening``. The centre drifts by ``drift`` (u, v)
    from base to apex. ``lobes`` (k, 3) make the outline this patient's: share of cosine and of sine, and twist.
    """

    pathology: Pathology
    size: float
    apex: float
    length: float
    shortening: float
    septum_angle: float
    infarct_angle: float
    drift: tuple[float, float]
    lobes: Float


@dataclass(frozen=True)
class Outlines:
    """A heart in one phase at some z, in mm: outlines r(z, angle) (Z, ANGLES), the others (Z, 1, 1).

    ``endo`` and ``epi`` bound the left ventricle's wall; ``rv`` bounds both ventricles together, so the right one lies
    between it and ``epi``. ``t`` is 0 at the base and 1 at the apex.
    """

    septum_angle: float
    endo: Float
    epi: Float
    rv: Float
    t: Float
    center_u: Float
    center_v: Float


@dataclass(frozen=True)
class Distances:
    """Signed distances to the outlines (Z, H, W) mm, and the position they are made from.

    ``radius`` (mm) and ``node`` (index into an outline's angles) are polar coordinates around the left ventricle.
    """

    endo: Float
    epi: Float
    rv: Float
    radius: Float
    node: npt.NDArray[np.intp]


def draw_grid(rng: np.random.Generator, in_plane: tuple[int, int] | None, depth: int | None) -> Grid:
    """Draw size, spacing and the picture's place in the body, within what ACDC has.

    Args:
        rng: draws the same numbers whatever the two sizes are.
        in_plane: voxels along x and y instead of the drawn ones.
        depth: slices instead of the drawn number; the distance between slices then fits the heart to them.
    """
    short, long = (2 * int(half) for half in rng.integers((77, 108), (115, 129)))
    wide, thin = rng.random(2) < (0.25, 0.25)
    pixel = rng.uniform(330, 400) / long
    slices, thickness = (12, 5.0) if thin else (int(rng.integers(8, 12)), 10.0)
    # Where the picture is wide, the body lies in it: turned clockwise until the chest is on top.
    turn = np.deg2rad(rng.uniform(50, 75) if wide else rng.uniform(-8, 10))
    shift = rng.uniform((-22, -10), (-6, 12))
    if depth is not None:
        slices, thickness = depth, thickness * _heart_slices(slices) / _heart_slices(depth)
    columns, rows = in_plane or ((long, short) if wide else (short, long))
    pixel = max(pixel, SMALLEST_FIELD / min(columns, rows))
    room = (np.array([columns, rows]) * pixel - SMALLEST_FIELD) / 2
    center = np.array([columns - 1, rows - 1]) / 2 * pixel + np.clip(shift, -room, room)
    y, x = np.mgrid[:rows, :columns] * pixel
    dx, dy = x - center[0], y - center[1]
    u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    # No heart is made of ovals: the whole frame is bent by a few mm.
    bend, phase = 2 * np.pi / 110, rng.uniform(0, 2 * np.pi, 2)
    u, v = u + 3 * np.sin(bend * v + phase[0]), v + 3 * np.sin(bend * u + phase[1])
    z = np.arange(slices) * thickness
    u, v, z = (axis.astype(np.float32) for axis in (u, v, z))
    return Grid(u, v, z, (pixel, pixel, thickness))


def _heart_slices(slices: int) -> float:
    """Length of the heart in slices, such that the first lies above its base and the last below its apex."""
    return slices - 1.45


def draw_heart(rng: np.random.Generator, group: str, grid: Grid) -> Heart:
    """Draw a heart of a pathology group that fits the grid's slices."""
    slices, thickness = len(grid.z), grid.spacing[2]
    septum_angle = np.pi - rng.uniform(-0.1, 0.5)
    return Heart(
        pathology=PATHOLOGIES[group],
        size=rng.uniform(0.95, 1.06),
        apex=(slices - 1.2) * thickness,
        length=_heart_slices(slices) * thickness,
        shortening=0.08 if group == "DCM" else rng.uniform(0.12, 0.17),
        septum_angle=septum_angle,
        infarct_angle=septum_angle + rng.uniform(1.5, 4.5),
        drift=(rng.uniform(-16, -4), rng.uniform(-6, 6)),
        lobes=rng.normal(0, (0.012, 0.012, 0.8), (3, 3)).astype(np.float32),
    )


def outline_heart(heart: Heart, z: Float, phase: str) -> Outlines:
    """Give the heart's outlines in a phase (``ED`` or ``ES``) at ``z`` (Z,) mm."""
    systole, disease = phase == "ES", heart.pathology
    length = heart.length * (1 - heart.shortening * systole)
    t = 1 + (z[:, None] - heart.apex) / length
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)[None]
    scale = heart.size * (1 + _lobes(heart.lobes, angle, t))
    septal = _bump(angle - heart.septum_angle, 0.9)
    scar = _bump(angle - heart.infarct_angle, 0.8) * (disease.infarct < 1)
    wall = (disease.wall + disease.septum * septal) * (1 - (1 - disease.infarct) * scar)
    endo = scale * disease.radius * _taper(t / 0.93)
    epi = scale * (disease.radius + wall) * _taper(t)
    if systole:
        # Muscle keeps its volume: what the cavity loses in radius and length, the wall gains in thickness.
        muscle = (epi**2 - endo**2) * heart.length / length
        endo = scale * disease.radius * (1 - (1 - disease.systole) * (1 - scar)) * _taper(t / 0.9)
        epi = np.sqrt(endo**2 + muscle)
    # A crescent between the two insertion points, its lower horn the longer one.
    aside = (angle - heart.septum_angle + np.pi) % (2 * np.pi) - np.pi
    span = np.where(aside < 0, 1.5, 1.25) * (1 - 0.35 * np.clip(t, 0, 1))
    reach = heart.size * disease.rv * (disease.rv_systole if systole else 1) * np.clip(1 - t / 0.93, 0, None)
    # A few mm of it beside the apex would be a broken line of voxels, which no observer would draw.
    reach = np.where(reach > 4, reach, 0)
    rv = epi + reach * np.clip(1 - (aside / span) ** 2, 0, None) ** 0.7
    tables = (outline.astype(np.float32) for outline in (endo, epi, rv))
    columns = (t, *(drift * (t - 0.5) for drift in heart.drift))
    return Outlines(heart.septum_angle, *tables, *(column.astype(np.float32)[..., None] for column in columns))


def _lobes(lobes: Float, angle: Float, t: Float) -> Float:
    """Relative deviation from a circle with two, three and four lobes."""
    order = np.arange(2, 2 + len(lobes))[:, None, None]
    cosine, sine, twist = lobes.T[..., None, None]
    turned = order * angle + twist * t
    return np.asarray((cosine * np.cos(turned) + sine * np.sin(turned)).sum(axis=0))


def _bump(angle: Float, width: float) -> Float:
    """Smooth 1 at angle 0, about 0 beyond 1.5 ``width`` (rad)."""
    return np.exp((np.cos(angle) - 1) / width**2 * 2)


def _taper(t: Float) -> Float:
    """Relative radius along the long axis: a little narrower at the base, round at the apex, 0 beyond."""
    narrow = 1 - 0.12 * np.clip(1 - t / 0.3, 0, 1) ** 2
    return np.asarray(narrow * np.sqrt(np.clip(1 - np.clip(t, 0, None) ** 2.4, 0, None)))


def measure(outlines: Outlines, u: Float, v: Float) -> Distances:
    """Signed distances (Z, H, W) to the ventricles' outlines at ``u``, ``v`` (H, W) mm."""
    du, dv = u - outlines.center_u, v - outlines.center_v
    radius = np.hypot(du, dv)
    node = (np.arctan2(dv, du) * np.float32(ANGLES / (2 * np.pi)) + ANGLES).astype(np.intp) % ANGLES
    tables = (outlines.endo, outlines.epi, outlines.rv)
    endo, epi, rv = (radius - outline_radius(table, node) for table in tables)
    return Distances(endo, epi, rv, radius, node)


def outline_radius(outline: Float, node: npt.NDArray[np.intp]) -> Float:
    """Radius (Z, H, W) of an outline (Z, ANGLES) in the directions ``node``; -5 mm where there is no outline."""
    radius = np.take_along_axis(outline.astype(np.float32), node.reshape(len(node), -1), axis=1).reshape(node.shape)
    return np.where(radius > 0, radius, np.float32(-5))


def label_volume(heart: Heart, grid: Grid, phase: str) -> npt.NDArray[np.uint8]:
    """Draw the ground truth (Z, H, W) of a phase: the label whose structure holds the voxel's centre."""
    outlines = outline_heart(heart, grid.z, phase)
    distances = measure(outlines, grid.u, grid.v)
    label = np.zeros(distances.epi.shape, np.uint8)
    for name, distance in (("RV", distances.rv), ("MYO", distances.epi), ("LV", distances.endo)):
        label[(distance < 0) & (outlines.t > 0)] = LABELS[name]
    return label
