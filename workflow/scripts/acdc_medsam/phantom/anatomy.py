"""The anatomy of the synthetic patients: the grid of voxels, the outlines of the hearts, and the label from both.

All lengths are in mm in the frame of the heart: u points to the back and v to the feet, both from the axis of the left
ventricle at half its length; z runs from base to apex, as ACDC's slices do. Shapes are signed distances, negative
inside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import LABELS

Float = npt.NDArray[np.floating[Any]]
"""Lengths and signals; float32 where there is one value per voxel."""

ANGLES = 720
"""Number of nodes of an outline r(angle) around the center of the left ventricle."""

SMALLEST_FIELD = 170.0
"""Smallest field of view in mm that shows both ventricles; small volumes get coarser voxels, not less of the heart."""


@dataclass(frozen=True)
class Pathology:
    """The effect of a pathology group on the heart, at half its length; lengths in mm at end-diastole.

    Attributes:
        radius: The radius of the left ventricle's cavity.
        wall: The thickness of its wall.
        septum: The additional thickness of the septum.
        rv: The reach of the right ventricle beyond the septum at the base.
        systole: The share of the radius that remains at end-systole.
        rv_systole: The share of the right ventricle's reach that remains at end-systole.
        infarct: The share of the wall that remains in a sector that does not move; 1 without infarction.
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
"""The pathology of each group; sizes as in Bernard et al. 2018, who define the groups by volumes, ejection fraction
and wall thickness."""


@dataclass(frozen=True)
class Grid:
    """Positions of the voxels in mm.

    Attributes:
        u: The position toward the back (H, W).
        v: The position toward the feet (H, W).
        z: The distance from the first slice (Z,).
        spacing: The voxel spacing (x, y, z).
    """

    u: Float
    v: Float
    z: Float
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class Heart:
    """One patient's heart; lengths in mm, angles in rad from u to v.

    Attributes:
        pathology: The effect of the patient's group.
        size: The factor that scales the lengths of the pathology.
        apex: The z of the tip.
        length: The distance from the apex to the base at end-diastole.
        shortening: The share by which systole shortens the length.
        septum_angle: The direction of the septum.
        infarct_angle: The direction of the infarct.
        drift: The shift (u, v) of the center from base to apex.
        lobes: The individual shape of the outline (k, 3): shares of cosine and sine, and twist.
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
    """A heart at some moment and some z; lengths in mm.

    Attributes:
        septum_angle: The direction of the septum in rad.
        endo: The inner outline of the left ventricle's wall, r(z, angle) (Z, ANGLES).
        epi: The outer outline of the wall (Z, ANGLES).
        rv: The outline of both ventricles together (Z, ANGLES): the right one lies between it and ``epi``.
        t: The position along the axis (Z, 1, 1), 0 at the base and 1 at the apex.
        center_u: The u of the left ventricle's center (Z, 1, 1).
        center_v: The v of the left ventricle's center (Z, 1, 1).
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
    """Signed distances (Z, H, W) in mm to the outlines, and the polar coordinates that they are computed from.

    Attributes:
        endo: The distance to the inner outline of the left ventricle's wall.
        epi: The distance to the outer outline of the wall.
        rv: The distance to the outline of both ventricles together.
        radius: The distance from the center of the left ventricle.
        node: The direction from the center, as an index into an outline's nodes.
    """

    endo: Float
    epi: Float
    rv: Float
    radius: Float
    node: npt.NDArray[np.intp]


def draw_grid(rng: np.random.Generator, in_plane: tuple[int, int] | None, depth: int | None) -> Grid:
    """Draw the size, the spacing and the position in the body of a volume, within ACDC's ranges.

    Args:
        rng: The random generator, which draws the same numbers whatever the two sizes are.
        in_plane: The number of voxels along x and y; None for the drawn ones.
        depth: The number of slices, with the distance between slices fitted to the heart; None for the drawn number.
    """
    # As in ACDC, the longer side measures 330 to 400 mm; a quarter of the volumes are wide, a quarter have thin slices.
    short, long = (2 * int(half) for half in rng.integers((77, 108), (115, 129)))
    wide, thin = rng.random(2) < (0.25, 0.25)
    pixel = rng.uniform(330, 400) / long
    slices, thickness = (12, 5.0) if thin else (int(rng.integers(8, 12)), 10.0)

    # In a wide picture the body lies on its back: it is turned clockwise until the chest is on top.
    turn = np.deg2rad(rng.uniform(50, 75) if wide else rng.uniform(-8, 10))
    shift = rng.uniform((-22, -10), (-6, 12))
    if depth is not None:
        thickness = thickness * _heart_slices(slices) / _heart_slices(depth)
        slices = depth
    columns, rows = in_plane or ((long, short) if wide else (short, long))
    pixel = max(pixel, SMALLEST_FIELD / min(columns, rows))

    # The heart may lie off center, but not out of the picture.
    room = (np.array([columns, rows]) * pixel - SMALLEST_FIELD) / 2
    center = np.array([columns - 1, rows - 1]) / 2 * pixel + np.clip(shift, -room, room)
    y, x = np.mgrid[:rows, :columns] * pixel
    dx = x - center[0]
    dy = y - center[1]
    straight_u = np.cos(turn) * dx + np.sin(turn) * dy
    straight_v = np.cos(turn) * dy - np.sin(turn) * dx

    # No heart is made of ovals, so the whole frame is bent by a few mm.
    bend = 2 * np.pi / 110
    phase = rng.uniform(0, 2 * np.pi, 2)
    u = straight_u + 3 * np.sin(bend * straight_v + phase[0])
    v = straight_v + 3 * np.sin(bend * straight_u + phase[1])
    z = np.arange(slices) * thickness
    u, v, z = (axis.astype(np.float32) for axis in (u, v, z))
    return Grid(u, v, z, (pixel, pixel, thickness))


def _heart_slices(slices: int) -> float:
    """Length of the heart in slices, such that the first slice lies above its base and the last below its apex."""
    return slices - 1.45


def draw_heart(rng: np.random.Generator, group: str, grid: Grid) -> Heart:
    """Draw a heart of a pathology group that fits the grid's slices."""
    slices = len(grid.z)
    thickness = grid.spacing[2]
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


def outline_heart(heart: Heart, z: Float, contraction: float) -> Outlines:
    """Compute the outlines of a heart at some moment of its beat.

    Args:
        heart: The heart.
        z: The positions (Z,) along the axis in mm.
        contraction: How far the heart has contracted, from 0 at end-diastole to 1 at end-systole.
    """
    disease = heart.pathology
    length = heart.length * (1 - heart.shortening * contraction)
    t = 1 + (z[:, None] - heart.apex) / length
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)[None]
    scale = heart.size * (1 + _lobes(heart.lobes, angle, t))

    # The septum may be thicker than the rest of the wall, and a scar is thinner.
    septal = _bump(angle - heart.septum_angle, 0.9)
    scar = _bump(angle - heart.infarct_angle, 0.8) * (disease.infarct < 1)
    wall = (disease.wall + disease.septum * septal) * (1 - (1 - disease.infarct) * scar)
    # The cavity ends before the wall does.
    endo = scale * disease.radius * _taper(t / 0.93)
    epi = scale * (disease.radius + wall) * _taper(t)
    if contraction:
        # Muscle keeps its volume: as the cavity loses radius and length, the wall gains thickness.
        muscle = (epi**2 - endo**2) * heart.length / length
        shrunk = 1 - contraction * (1 - disease.systole) * (1 - scar)
        endo = scale * disease.radius * shrunk * _taper(t / float(np.interp(contraction, (0, 1), (0.93, 0.9))))
        epi = np.sqrt(endo**2 + muscle)

    # The right ventricle is a crescent between its two insertion points, with the longer horn below.
    aside = (angle - heart.septum_angle + np.pi) % (2 * np.pi) - np.pi
    span = np.where(aside < 0, 1.5, 1.25) * (1 - 0.35 * np.clip(t, 0, 1))
    remaining = float(np.interp(contraction, (0, 1), (1, disease.rv_systole)))
    reach = heart.size * disease.rv * remaining * np.clip(1 - t / 0.93, 0, None)
    # The last few mm beside the apex would be a broken line of voxels, which no observer would draw.
    reach = np.where(reach > 4, reach, 0)
    rv = epi + reach * np.clip(1 - (aside / span) ** 2, 0, None) ** 0.7

    tables = (outline.astype(np.float32) for outline in (endo, epi, rv))
    columns = (t, *(drift * (t - 0.5) for drift in heart.drift))
    return Outlines(heart.septum_angle, *tables, *(column.astype(np.float32)[..., None] for column in columns))


def _lobes(lobes: Float, angle: Float, t: Float) -> Float:
    """Compute the relative deviation from a circle, with two, three and four lobes."""
    order = np.arange(2, 2 + len(lobes))[:, None, None]
    cosine, sine, twist = lobes.T[..., None, None]
    turned = order * angle + twist * t
    return np.asarray((cosine * np.cos(turned) + sine * np.sin(turned)).sum(axis=0))


def _bump(angle: Float, width: float) -> Float:
    """Compute a smooth bump: 1 at angle 0, about 0 beyond 1.5 ``width`` (rad)."""
    return np.exp((np.cos(angle) - 1) / width**2 * 2)


def _taper(t: Float) -> Float:
    """Compute the relative radius along the axis: a little narrower at the base, round at the apex, 0 beyond."""
    narrow = 1 - 0.12 * np.clip(1 - t / 0.3, 0, 1) ** 2
    return np.asarray(narrow * np.sqrt(np.clip(1 - np.clip(t, 0, None) ** 2.4, 0, None)))


def measure_distances(outlines: Outlines, u: Float, v: Float) -> Distances:
    """Compute the signed distances (Z, H, W) from positions ``u`` and ``v`` (H, W) in mm to the outlines."""
    du = u - outlines.center_u
    dv = v - outlines.center_v
    radius = np.hypot(du, dv)
    # Angles start at -pi. The added turn makes them positive, because conversion to integers rounds toward 0.
    node = (np.arctan2(dv, du) * np.float32(ANGLES / (2 * np.pi)) + ANGLES).astype(np.intp) % ANGLES
    tables = (outlines.endo, outlines.epi, outlines.rv)
    endo, epi, rv = (radius - outline_radius(table, node) for table in tables)
    return Distances(endo, epi, rv, radius, node)


def outline_radius(outline: Float, node: npt.NDArray[np.intp]) -> Float:
    """Look up the radius (Z, H, W) of an outline (Z, ANGLES) at its nodes ``node``; -5 mm where there is no outline."""
    radius = np.take_along_axis(outline.astype(np.float32), node.reshape(len(node), -1), axis=1).reshape(node.shape)
    # A negative radius leaves every voxel outside.
    return np.where(radius > 0, radius, np.float32(-5))


def label_volume(heart: Heart, grid: Grid, contraction: float) -> npt.NDArray[np.uint8]:
    """Draw the labels (Z, H, W) of a moment: each voxel gets the structure that its center lies in."""
    outlines = outline_heart(heart, grid.z, contraction)
    distances = measure_distances(outlines, grid.u, grid.v)
    label = np.zeros(distances.epi.shape, np.uint8)
    # Each structure lies inside the outline of the one before it, so the later label is the right one.
    for name, distance in (("RV", distances.rv), ("MYO", distances.epi), ("LV", distances.endo)):
        label[(distance < 0) & (outlines.t > 0)] = LABELS[name]
    return label
