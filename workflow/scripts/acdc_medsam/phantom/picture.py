"""The images of the synthetic patients: the body and the heart as in balanced steady-state cine MRI.

Signals are relative to the brightest blood. Tissues are painted over each other. A voxel takes on the signal of a
tissue in proportion to the share of the voxel that lies inside the shape, as in a scanner. Lengths are in mm in the
frame of the heart.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from acdc_medsam.phantom.anatomy import (
    ANGLES,
    Float,
    Grid,
    Heart,
    Outlines,
    measure_distances,
    outline_heart,
    outline_radius,
)

AIR, LUNG, MUSCLE, LIVER, FAT, BLOOD = 0.005, 0.04, 0.17, 0.2, 0.75, 0.85
"""Signal of each tissue relative to the brightest blood, as seen in ACDC's cines."""

HEART_REACH = 95.0
"""Half the side in mm of the square around the left ventricle that contains the heart and its vessels."""

SLICE_THICKNESS = 8.0
"""Largest thickness of a slice in mm, even if the slices are further apart; in ACDC it is 5 to 8 mm."""

SUBSLICES = 3
"""Number of planes that a slice of the heart is averaged over."""


def paint(canvas: Float, distance: Float, signal: Float | np.float32 | float, pixel: float, rim: float = 0.0) -> None:
    """Paint a shape over ``canvas`` in place.

    Args:
        canvas: The signals, of any shape.
        distance: The signed distance to the shape, which broadcasts to the canvas.
        signal: The signal of the shape.
        pixel: The width of the transition at its border.
        rim: The width of a dark line around the shape: where water and fat share a voxel, their signals cancel.
    """
    scaled = distance * np.float32(-1 / pixel) + np.float32(0.5)
    if rim:
        canvas *= 1 - np.float32(0.85) * np.clip(scaled + np.float32(rim / pixel), 0, 1)
    canvas += np.clip(scaled, 0, 1) * (signal - canvas)


def draw_body(grid: Grid, rng: np.random.Generator) -> Float:
    """Draw everything but the heart (Z, H, W): skin, fat, chest wall, lungs, and the organs below the diaphragm."""
    s = np.linspace(0, 1, len(grid.z), dtype=np.float32)[:, None, None]
    u, v = _warp(grid, rng)
    canvas = np.full(u.shape, AIR, np.float32)
    inner = _draw_chest(canvas, u, v, s, grid.spacing[0], rng)

    # The diaphragm carries the heart, whose lower border rises toward the apex, and domes over the stomach behind it.
    diaphragm = 44 - 24 * s**2 - 30 * np.exp(-(((u - 72) / 40) ** 2)) - v + rng.uniform(-3, 3)
    abdomen = np.maximum(inner, diaphragm)
    below = abdomen < 2
    # The organs are drawn on a copy of the voxels below the diaphragm alone, which saves time.
    organs = canvas[below]
    z = np.broadcast_to(grid.z[:, None, None], u.shape)
    _draw_abdomen(organs, abdomen[below], (u[below], v[below], z[below]), grid, rng)
    canvas[below] = organs

    # The descending aorta runs down beside the spine, behind the heart.
    paint(canvas, np.hypot(u - 56 - 10 * s, v - 22 - 80 * s) - 11, BLOOD * 0.85, grid.spacing[0], rim=1.5)
    return canvas * (1 + _noise(u.shape, 1.0, 0.06, rng) + _noise(u.shape, 3.5, 0.08, rng))


def _warp(grid: Grid, rng: np.random.Generator) -> tuple[Float, Float]:
    """Warp the coordinates (Z, H, W) so that plain ovals become organic shapes."""
    u, v = (np.repeat(axis[None], len(grid.z), axis=0) for axis in (grid.u, grid.v))
    # Waves of three lengths, each turning slowly from slice to slice.
    for length, height in ((140, 5.0), (75, 3.0), (38, 1.5)):
        phase = rng.uniform(0, 2 * np.pi, 4).astype(np.float32)
        bend = np.float32(2 * np.pi / length)
        turn = grid.z[:, None, None] * np.float32(1 / length)
        u += np.float32(height) * np.sin(bend * grid.v + phase[0] + turn) * np.cos(bend * grid.u + phase[1] + turn)
        v += np.float32(height) * np.sin(bend * grid.u + phase[2] + turn) * np.cos(bend * grid.v + phase[3] - turn)
    return u, v


def _noise(shape: tuple[int, ...], grain: float, share: float, rng: np.random.Generator) -> Float:
    """Draw smooth noise of mean 0 and standard deviation ``share``; ``grain`` is its in-plane scale in voxels."""
    # Smoothing lowers the deviation, so the noise is scaled afterward.
    noise = gaussian_filter(rng.standard_normal(shape, np.float32), (0.5, grain, grain), truncate=2.5)
    return np.asarray(noise * np.float32(share / noise.std()))


def _draw_chest(canvas: Float, u: Float, v: Float, s: Float, pixel: float, rng: np.random.Generator) -> Float:
    """Draw the body from the skin to the lungs on ``canvas`` in place.

    Args:
        canvas: The signals (Z, H, W).
        u: The warped position toward the back (Z, H, W).
        v: The warped position toward the feet (Z, H, W).
        s: The position along z (Z, 1, 1), 0 in the first slice and 1 in the last.
        pixel: The side of a pixel.
        rng: The random generator.

    Returns:
        The signed distance (Z, H, W) to the space inside the walls of chest and abdomen.
    """
    front = -112 + 24 * s**2 + rng.uniform(-6, 6)
    back = 124 - 8 * s + rng.uniform(-6, 6)
    half = (back - front) / 2
    skin = (np.sqrt(np.hypot(((u - front - half) / half) ** 2, ((v - 25) / 225) ** 2)) - 1) * half
    under_skin = 9 + 26 * s**2 * np.exp(-(((v + 90) / 50) ** 2)) + 4 * np.sin(v / 35 + rng.uniform(0, 6))

    lung_front = -82 + 34 * s**2
    lung_back = 92 - 12 * s
    center = (lung_front + lung_back) / 2
    reach = (lung_back - lung_front) / 2
    lung = (np.hypot((u - center) / reach, (v + 15) / (125 - 20 * s)) - 1) * reach
    turn = np.arctan2(v + 15, u - center)

    paint(canvas, skin, FAT, pixel)
    # The chest wall is made of layers of muscle and fat, given as depth beyond the lung and signal.
    layers = ((0, 0.15), (8, 0.2), (10, 0.55), (14, 0.55), (15, 0.17), (24, 0.22), (26, 0.6), (33, 0.3), (40, 0.18))
    fibers = lung * (1 + 0.35 * np.sin(3 * turn + 4 * s + rng.uniform(0, 6)))
    muscle = np.interp(fibers, [depth for depth, _ in layers], [signal for _, signal in layers])
    paint(canvas, skin + under_skin, muscle.astype(np.float32), pixel, rim=1)
    ribs = np.cos(11 * turn + 3 * s + rng.uniform(0, 6))
    paint(canvas, np.maximum(np.abs(lung - 5) - 3.5, (0.4 - ribs) * 8), 0.4, pixel, rim=1.5)
    paint(canvas, lung, LUNG, pixel, rim=1)

    # Vessels branch from the hilum above and behind the heart.
    sprouts = rng.random(u.shape, np.float32) < 0.03 * np.exp(-np.hypot(u - 20, v + 50) / 20)
    vessels = gaussian_filter(sprouts * rng.standard_exponential(u.shape, np.float32), (0.6, 0.9, 0.9), truncate=2.5)
    canvas += np.clip(9 * vessels, 0, 0.8) * (lung < -4)
    return np.asarray(np.minimum(np.maximum(skin + under_skin + 12, np.abs(u - center) - reach - 4), lung))


def _draw_abdomen(
    canvas: Float, abdomen: Float, position: tuple[Float, Float, Float], grid: Grid, rng: np.random.Generator
) -> None:
    """Draw the organs below the diaphragm on ``canvas`` in place.

    Args:
        canvas: The signals (N,) of the voxels in the abdomen.
        abdomen: The signed distance (N,) to the abdomen.
        position: The positions u, v and z of the voxels, each (N,).
        grid: The grid of the volume.
        rng: The random generator.
    """
    pixel = grid.spacing[0]
    depth = float(grid.z[-1])
    paint(canvas, abdomen, 0.5, pixel, rim=1.5)

    # Bowel and vessels lie on a jittered lattice.
    u, v, z = (axis.ravel() for axis in np.meshgrid(np.arange(-90, 130, 36), np.arange(75, 190, 34), (0, depth)))
    count = len(u)
    centers = np.stack([u, v, z], axis=1) + rng.normal(0, (9, 9, 15), (count, 3))
    radii = rng.uniform((9, 8, 25), (22, 18, 60), (count, 3))
    signals = rng.choice((0.08, 0.18, 0.25, 0.35, 0.6), count)
    # Liver, stomach and spleen are painted over them: center, radii, signal.
    large = (
        ((-50, 88, 0), (62, 48, 80), LIVER),
        ((45, 52, depth), (40, 28, 45), 0.32),
        ((84, 55, 40), (26, 36, 40), 0.27),
    )

    organs = [*zip(centers, radii, signals, strict=True), *large]
    for center, radius, signal in organs:
        offset = [(axis - np.float32(c)) / np.float32(r) for axis, c, r in zip(position, center, radius, strict=True)]
        distance = (np.sqrt(offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2) - 1) * np.float32(min(radius[:2]))
        paint(canvas, np.maximum(distance, abdomen + 2), np.float32(signal), pixel, rim=1.2)


def draw_heart_into(body: Float, grid: Grid, heart: Heart, contraction: float, rng: np.random.Generator) -> Float:
    """Draw a moment of the heart over a copy of ``body`` (Z, H, W), with each slice averaged over its thickness."""
    # Only the surroundings of the heart are drawn on thin planes, which saves time.
    near = (np.abs(grid.u) < HEART_REACH) & (np.abs(grid.v) < HEART_REACH)
    rows, columns = (slice(found[0], found[-1] + 1) for found in (np.flatnonzero(near.any(axis)) for axis in (1, 0)))
    u = grid.u[rows, columns]
    v = grid.v[rows, columns]
    pixel = grid.spacing[0]
    planes = (np.arange(SUBSLICES) - (SUBSLICES - 1) / 2) / SUBSLICES * min(SLICE_THICKNESS, grid.spacing[2])
    picture = body.copy()

    # A slice shows either ventricles or great vessels, as its label does, even if the base lies within its thickness.
    ventricular = outline_heart(heart, grid.z, contraction).t.ravel() > 0
    for slices, draw in ((ventricular, _draw_ventricles), (~ventricular, _draw_great_vessels)):
        outlines = outline_heart(heart, (grid.z[slices, None] + planes).astype(np.float32).ravel(), contraction)
        canvas = np.repeat(body[slices, rows, columns], SUBSLICES, axis=0)
        draw(canvas, outlines, u, v, pixel, rng)
        picture[slices, rows, columns] = canvas.reshape(-1, SUBSLICES, *u.shape).mean(axis=1)
    return picture


def _draw_great_vessels(
    canvas: Float, outlines: Outlines, u: Float, v: Float, pixel: float, rng: np.random.Generator
) -> None:
    """Draw what lies above the base: fat, both atria, the outflow tract of the right ventricle, the aortic root."""
    du = u - outlines.center_u
    dv = v - outlines.center_v
    blood = BLOOD * (1 + _noise(canvas.shape, 2.0, 0.05, rng))
    # In the order above: center, radius, ratio of the axes, signal.
    for center_u, center_v, radius, flat, signal in (
        (-8, -2, 40, 1.2, 0.5 * FAT),
        (-40, 12, 31, 0.8, blood * np.float32(0.85)),
        (14, 7, 29, 0.9, blood * np.float32(0.9)),
        (-24, -27, 15, 1.5, blood * np.float32(0.9)),
        (-11, -9, 13, 1.0, blood),
    ):
        distance = (np.hypot((du - center_u) / flat, dv - center_v) - radius) * min(flat, 1)
        paint(canvas, distance, signal, pixel, rim=2.8)


def _draw_ventricles(
    canvas: Float, outlines: Outlines, u: Float, v: Float, pixel: float, rng: np.random.Generator
) -> None:
    """Draw epicardial fat, both ventricles and the papillary muscles, from the outside in."""
    distances = measure_distances(outlines, u, v)

    # Fat fills the grooves where the ventricles meet; there is more of it below and toward the apex.
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    fat = 2 + (2 + 3 * outlines.t[..., 0]) * (1 + np.cos(angle - 2.4))
    around = np.maximum(outlines.rv, gaussian_filter(outlines.rv, (0, ANGLES / 24), mode="wrap")) + fat
    wall = outlines.rv + np.minimum(outlines.rv - outlines.epi, 2.5)
    paint(canvas, distances.radius - outline_radius(around, distances.node), 0.75 * FAT, pixel, rim=1.5)
    paint(canvas, distances.radius - outline_radius(wall, distances.node), MUSCLE, pixel, rim=1)

    mottle = _noise(canvas.shape, 1.7, 1.0, rng)
    blood = BLOOD * (1 + 0.06 * mottle)
    paint(canvas, distances.rv + 0.5, blood * np.float32(0.88) - np.float32(0.4) * (mottle > 1.5), pixel)
    paint(canvas, distances.epi, MUSCLE * (1 - 0.1 * mottle), pixel, rim=0.8)

    # Trabeculae roughen the border of the cavity within its label, more so toward the apex.
    rough = gaussian_filter(rng.standard_normal(outlines.endo.shape), (SUBSLICES, 9), mode="wrap")
    rough = np.clip(rough / rough.std(), 0, None) * (0.04 + 0.08 * np.clip(outlines.t[..., 0], 0, 1))
    inner = outline_radius(outlines.endo * (1 - rough), distances.node)
    paint(canvas, distances.radius - inner, blood, pixel)

    # The two papillary muscles taper off toward base and apex.
    reach = 0.68 * outlines.endo.mean(axis=1)[:, None, None]
    for turn, radius in ((2.3, 5.0), (-2.1, 5.5)):
        toward = outlines.septum_angle + turn + 0.3 * outlines.t
        du = u - outlines.center_u - reach * np.cos(toward)
        dv = v - outlines.center_v - reach * np.sin(toward)
        belly = radius * np.sqrt(np.clip(1 - ((outlines.t - 0.5) / 0.32) ** 2, 0, None)) - 1
        paint(canvas, np.hypot(du, dv) - np.where(belly > 0, belly, np.float32(-9)), 1.2 * MUSCLE, pixel)


def acquire(picture: Float, grid: Grid, rng: np.random.Generator) -> Float:
    """Simulate the scan of a picture (Z, H, W): off-resonance bands, coil sensitivity, blur, noise, empty corners."""
    u = grid.u
    v = grid.v
    far = np.hypot(u + 40, v + 70) - rng.uniform(210, 240)
    bands = 1 - np.clip(far / 50, 0, 0.8) * np.cos(np.clip(far, 0, None) ** 1.5 / 14) ** 8
    front, back = (np.exp(-(((u - edge) / reach) ** 2)) for edge, reach in ((-115, 60), (130, 50)))
    coil = (0.85 + 0.55 * front + 0.45 * back) * np.exp(-(((v + 10) / 190) ** 4))
    signal = gaussian_filter(picture * (bands * coil), (0, 0.55, 0.55))

    # The magnitude of a complex signal with Gaussian noise has Rician noise.
    noise = rng.standard_normal((2, *picture.shape), np.float32) * np.float32(rng.uniform(0.010, 0.022))
    image: Float = np.hypot(signal + noise[0], noise[1])

    # Distortion correction leaves curved edges, beyond which there is no signal.
    rows, columns = picture.shape[1:]
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    edge = rng.uniform(0.01, 0.05)
    image[:, (np.abs(x) > 1 - edge * y**2) | (np.abs(y) > 1 - edge * (x - 0.3) ** 2)] = 0
    return image
