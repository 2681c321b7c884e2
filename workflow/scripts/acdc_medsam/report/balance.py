"""Section "balance": slices and pixels per structure, split, group and phase; spacing, size and depth of volumes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import LABELS, PHASES, STRUCTURE_NAMES
from acdc_medsam.formats.files import Row
from acdc_medsam.layout import PIXEL_COLUMNS
from acdc_medsam.measures.records import Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.drawing import LINE, SERIES, STRUCTURES, TEXT, Chart, count_in_whole_numbers
from acdc_medsam.report.elements import Table, format_count, format_number, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Balance:
    """What the section shows.

    Attributes:
        remark: Pathology groups that train has no patient of, or None if there are none.
        tables: Tables of structures, groups and geometry.
        charts: Charts of groups, areas and geometry.
    """

    remark: str | None
    tables: Sequence[Table]
    charts: Sequence[Chart]


def balance_section(contents: Contents) -> Balance:
    """Compute the contents of the section."""
    tables = [count_structures(contents), count_groups(contents), describe_geometry(contents)]
    charts = [draw_groups(contents), *(draw_areas(contents, key) for key in LABELS), *draw_geometry(contents)]
    return Balance(describe_unseen_groups(contents), tables, charts)


def count_structures(contents: Contents) -> Table:
    """Count the slices of each split, group and phase, those that show each structure, and the structure's pixels."""
    kinds = {"split": contents.splits, "group": contents.groups, "phase": PHASES}
    rows = []
    for column, values in kinds.items():
        for value in values:
            own = [row for row in contents.rows if row[column] == value]
            rows.append([f"{column} {value}", *_count_cells(own)])
    rows.append(["all", *_count_cells(contents.rows)])

    heads = [f"{what} {key}" for key in LABELS for what in ("slices with", "pixels")]
    return Table(
        "Slices that show each structure, and the structure's share of these slices' pixels before resizing. "
        + "; ".join(f"{key}: {name}" for key, name in STRUCTURE_NAMES.items())
        + ".",
        ("", "slices", *heads),
        rows,
    )


def _count_cells(rows: Sequence[Row]) -> list[str]:
    """Return the number of slices and, for each structure, the slices that show it and its share of all pixels."""
    pixels = sum(int(row["height"]) * int(row["width"]) for row in rows)
    cells = [format_count(len(rows))]
    for column in PIXEL_COLUMNS.values():
        counts = [int(row[column]) for row in rows]
        cells += [
            format_count(sum(count > 0 for count in counts)),
            format_percent(sum(counts) / pixels) if rows else "",
        ]
    return cells


def count_groups(contents: Contents) -> Table:
    """Count the patients and slices of each group in each split."""
    rows = []
    for split in contents.splits:
        own = [row for row in contents.rows if row["split"] == split]
        # Each patient counts once, however many slices it has.
        patients = Counter(group for _, group in {(row["patient"], row["group"]) for row in own})
        slices = Counter(row["group"] for row in own)
        rows.append([split, *(f"{patients[group]} ({slices[group]})" for group in contents.groups)])
    return Table("Patients, and their slices, of each group in each split.", ("Split", *contents.groups), rows)


def describe_unseen_groups(contents: Contents) -> str | None:
    """Name the pathology groups that val or test has patients of, but train has not. Return None if there are none."""
    seen = {row["group"] for row in contents.rows if row["split"] == "train"}
    pairs = {(row["group"], row["split"]) for row in contents.rows if row["group"] not in seen}
    if not pairs:
        return None
    named = ", ".join(f"{group} ({split})" for group, split in sorted(pairs))
    return f"Train has no patient of these pathology groups, which a model is measured on without having seen: {named}."


def describe_geometry(contents: Contents) -> Table:
    """List the smallest, median and largest spacing, size and depth of the volumes."""
    size = _sizes(contents)
    quantities: dict[str, Floats | npt.NDArray[np.int64]] = {}
    caption = "Geometry of the volumes, as acquired."
    if contents.has_spacing:
        spacing = _spacings(contents)
        quantities = {
            "pixel spacing, y (mm)": spacing[:, 1],
            "pixel spacing, x (mm)": spacing[:, 2],
            "distance of slices (mm)": spacing[:, 0],
            "field of view, y (mm)": size[:, 0] * spacing[:, 1],
            "field of view, x (mm)": size[:, 1] * spacing[:, 2],
        }
    else:
        caption += " The spacing of some volumes is unknown, so that no size is given in mm."
    quantities |= {
        "height (pixels)": size[:, 0],
        "width (pixels)": size[:, 1],
        "slices in a volume": np.array(list(contents.depths.values())),
    }

    rows = [
        [
            name,
            *(format_number(float(statistic(values)), 4) for statistic in (np.min, np.median, np.max)),
            format_count(len(set(values.tolist()))),
        ]
        for name, values in quantities.items()
    ]
    return Table(caption, ("", "smallest", "median", "largest", "different values"), rows)


def _spacings(contents: Contents) -> Floats:
    """Return the spacing (v, 3) of the volumes as z, y, x in mm; it must be known."""
    return np.array([[float(size) for size in row["spacing"].split()] for row in contents.volumes.values()])


def _sizes(contents: Contents) -> npt.NDArray[np.int64]:
    """Return the height and width (v, 2) of the volumes in pixels."""
    return np.array([[int(row["height"]), int(row["width"])] for row in contents.volumes.values()])


def draw_groups(contents: Contents) -> Chart:
    """Chart the number of slices per group, stacked by split."""
    counts = {
        split: np.array(
            [sum(row["split"] == split and row["group"] == group for row in contents.rows) for group in contents.groups]
        )
        for split in contents.splits
    }

    words = "; ".join(
        f"{split}: " + ", ".join(f"{group} {slices}" for group, slices in zip(contents.groups, count, strict=True))
        for split, count in counts.items()
    )
    draw = partial(_draw_groups, groups=contents.groups, counts=counts)
    return Chart("groups", "Slices per group and split", words, draw)


def _draw_groups(axes: "Axes", groups: Sequence[str], counts: Mapping[str, npt.NDArray[np.int64]]) -> None:
    """Draw the counts (groups,) of each split on top of each other."""
    below = np.zeros(len(groups))
    for index, (split, count) in enumerate(counts.items()):
        axes.bar(groups, count, bottom=below, color=SERIES[index], label=split, width=0.7)
        below += count
    axes.set_ylabel("slices")
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))


def draw_areas(contents: Contents, structure: str) -> Chart:
    """Chart the area of a structure in the slices that show it, per group, at end-diastole and end-systole."""
    areas = contents.areas[structure]
    unit = contents.area_unit
    words = unit
    if contents.has_spacing:
        areas = areas / 100  # mm² to cm²
        unit = "cm²"
        words = "square centimetres"
    group = contents.column("group")
    phase = contents.column("phase")
    boxes = []
    labels = []
    for name in contents.groups:
        for time in PHASES:
            boxes.append(areas[(areas > 0) & (group == name) & (phase == time)])
            labels.append(f"{name}\n{time}" if time == PHASES[0] else time)

    medians = [
        f"{label.replace(chr(10), ' ')} {format_number(np.median(box), 2)}"
        for label, box in zip(labels, boxes, strict=True)
        if box.size
    ]
    return Chart(
        f"area-{structure}",
        f"Area of the {STRUCTURE_NAMES[structure]}",
        f"Boxes from the first to the third quartile, a line at the median: {', '.join(medians)} {words}.",
        partial(_draw_areas, boxes=boxes, labels=labels, color=STRUCTURES[structure], unit=unit),
    )


def _draw_areas(axes: "Axes", boxes: Sequence[Floats], labels: Sequence[str], color: str, unit: str) -> None:
    """Draw a box for each of several distributions of areas, in a unit."""
    drawn = axes.boxplot(
        boxes,
        widths=0.6,
        patch_artist=True,
        whiskerprops={"color": TEXT, "linewidth": 0.8},
        capprops={"color": TEXT, "linewidth": 0.8},
        boxprops={"edgecolor": TEXT, "linewidth": 0.8},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": SERIES[0]},
        medianprops={"color": SERIES[4], "linewidth": 1.5},
    )
    # The argument of boxplot for labels is called `labels` before Matplotlib 3.9 and `tick_labels` since.
    axes.set_xticks(range(1, len(labels) + 1), labels)
    for patch in drawn["boxes"]:
        patch.set_facecolor((color, 0.6))
    axes.set_ylabel(f"{unit} in a slice")
    axes.set_ylim(bottom=0)


def draw_geometry(contents: Contents) -> list[Chart]:
    """Chart the distributions of size and depth of the volumes, and of their pixel spacing if it is known."""
    size = _sizes(contents)
    depths = list(contents.depths.values())
    different = len({tuple(shape) for shape in size.tolist()})
    square = np.mean(size[:, 0] == size[:, 1])
    charts = [
        Chart(
            "size",
            "Size of a slice before resizing",
            f"{different} different sizes; {format_percent(float(square))} of the volumes are square, on the diagonal "
            "line. A larger dot stands for more volumes.",
            partial(_draw_sizes, size=size),
        ),
        Chart(
            "depth",
            "Depth",
            f"Histogram: {_describe_range(depths)} slices in a volume.",
            partial(_draw_depths, depths=depths),
        ),
    ]
    if not contents.has_spacing:
        return charts

    spacing = _spacings(contents)[:, 2]
    words = f"Histogram: {_describe_range(spacing.tolist())} mm."
    return [Chart("spacing", "Pixel spacing", words, partial(_draw_spacing, spacing=spacing)), *charts]


def _draw_sizes(axes: "Axes", size: npt.NDArray[np.int64]) -> None:
    """Draw the heights and widths (v, 2) of the volumes in pixels."""
    volumes = Counter(map(tuple, size[:, ::-1].tolist()))
    x, y = np.array(list(volumes)).T
    axes.scatter(x, y, s=[12 + 4 * count for count in volumes.values()], color=SERIES[0], alpha=0.6, linewidths=0)
    limit = int(size.max()) * 1.1
    axes.plot([0, limit], [0, limit], color=LINE, linewidth=1)
    axes.set(xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, limit), ylim=(0, limit), aspect="equal")


def _draw_depths(axes: "Axes", depths: Sequence[int]) -> None:
    """Draw the distribution of the number of slices in a volume."""
    axes.hist(depths, bins=np.arange(min(depths) - 0.5, max(depths) + 1.5).tolist(), color=SERIES[0], rwidth=0.9)
    axes.set(xlabel="slices in a volume", ylabel="volumes")
    count_in_whole_numbers(axes)


def _draw_spacing(axes: "Axes", spacing: Floats) -> None:
    """Draw the distribution of the pixel spacing (v,) of the volumes in mm."""
    axes.hist(spacing, bins=20, color=SERIES[0])
    axes.set(xlabel="pixel spacing, x (mm)", ylabel="volumes")
    count_in_whole_numbers(axes)


def _describe_range(values: Sequence[float]) -> str:
    low, middle, high = (format_number(value, 4) for value in np.quantile(values, (0, 0.5, 1)))
    return f"between {low} and {high}, median {middle}"
