"""Section "balance": slices and pixels per structure, split, group and phase; spacing, size and depth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import LABELS, PHASES, STRUCTURE_NAMES
from acdc_medsam.formats.files import Row
from acdc_medsam.layout import PIXEL_COLUMNS
from acdc_medsam.measures.records import Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.drawing import LINE, SERIES, STRUCTURES, TEXT, count_in_whole_numbers, draw_chart
from acdc_medsam.report.elements import Chart, Table, format_count, format_number, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Balance:
    """Tables of slices and of geometry, and charts."""

    tables: Sequence[Table]
    charts: Sequence[Chart]


def balance_section(contents: Contents) -> Balance:
    """Put together the section."""
    charts = [draw_groups(contents), *(draw_areas(contents, key) for key in LABELS), *draw_geometry(contents)]
    return Balance([count_structures(contents), count_groups(contents), describe_geometry(contents)], charts)


def count_structures(contents: Contents) -> Table:
    """Per split, group and phase: slices, slices with each structure, and its share of all pixels."""
    kinds = {"split": contents.splits, "group": contents.groups, "phase": PHASES}
    rows = []
    for column, values in kinds.items():
        for value in values:
            rows.append([f"{column} {value}", *_structures([row for row in contents.rows if row[column] == value])])
    rows.append(["all", *_structures(contents.rows)])
    heads = [f"{what} {key}" for key in LABELS for what in ("slices with", "pixels")]
    return Table(
        "Slices that show each structure, and the structure's share of these slices' pixels before resizing. "
        + "; ".join(f"{key}: {name}" for key, name in STRUCTURE_NAMES.items())
        + ".",
        ("", "slices", *heads),
        rows,
    )


def _structures(rows: Sequence[Row]) -> list[str]:
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
    """Patients and slices of each group in each split."""
    rows = []
    for split in contents.splits:
        of_split = [row for row in contents.rows if row["split"] == split]
        patients = Counter(group for _, group in {(row["patient"], row["group"]) for row in of_split})
        slices = Counter(row["group"] for row in of_split)
        rows.append([split, *(f"{patients[group]} ({slices[group]})" for group in contents.groups)])
    return Table("Patients, and their slices, of each group in each split.", ("Split", *contents.groups), rows)


def describe_geometry(contents: Contents) -> Table:
    """Smallest, median and largest spacing, size and depth of the volumes."""
    spacing, size = _geometry(contents)
    depths = np.array(list(contents.depths.values()))
    quantities = {
        "pixel spacing, y (mm)": spacing[:, 1],
        "pixel spacing, x (mm)": spacing[:, 2],
        "distance of slices (mm)": spacing[:, 0],
        "height (pixels)": size[:, 0],
        "width (pixels)": size[:, 1],
        "field of view, y (mm)": size[:, 0] * spacing[:, 1],
        "field of view, x (mm)": size[:, 1] * spacing[:, 2],
        "slices in a volume": depths,
    }
    rows = [
        [
            name,
            *(format_number(statistic(values), 4) for statistic in (np.min, np.median, np.max)),
            format_count(len(set(values))),
        ]
        for name, values in quantities.items()
    ]
    return Table(
        "Geometry of the volumes, as acquired.", ("", "smallest", "median", "largest", "different values"), rows
    )


def _geometry(contents: Contents) -> tuple[Floats, npt.NDArray[np.int64]]:
    rows = contents.volumes.values()
    spacing = np.array([[float(size) for size in row["spacing"].split()] for row in rows])
    return spacing, np.array([[int(row["height"]), int(row["width"])] for row in rows])


def draw_groups(contents: Contents) -> Chart:
    """Draw slices per group, stacked by split."""
    counts = {
        split: np.array(
            [sum(row["split"] == split and row["group"] == group for row in contents.rows) for group in contents.groups]
        )
        for split in contents.splits
    }

    def draw(axes: "Axes") -> None:
        below = np.zeros(len(contents.groups))
        for number, (split, count) in enumerate(counts.items()):
            axes.bar(contents.groups, count, bottom=below, color=SERIES[number], label=split, width=0.7)
            below += count
        axes.set_ylabel("slices")
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))

    words = "; ".join(
        f"{split}: " + ", ".join(f"{group} {number}" for group, number in zip(contents.groups, count, strict=True))
        for split, count in counts.items()
    )
    return draw_chart("groups", "Slices per group and split", words, draw)


def draw_areas(contents: Contents, structure: str) -> Chart:
    """Draw the area of a structure in the slices that show it, per group, at end-diastole and end-systole."""
    areas, group, phase = contents.areas[structure] / 100, contents.column("group"), contents.column("phase")
    boxes = [areas[(areas > 0) & (group == one) & (phase == time)] for one in contents.groups for time in PHASES]
    labels = [f"{one}\n{time}" if time == PHASES[0] else time for one in contents.groups for time in PHASES]

    def draw(axes: "Axes") -> None:
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
        # Not by an argument of boxplot: it was called `labels` before Matplotlib 3.9, and is `tick_labels` since.
        axes.set_xticks(range(1, len(labels) + 1), labels)
        for patch in drawn["boxes"]:
            patch.set_facecolor((STRUCTURES[structure], 0.6))
        axes.set_ylabel("cm² in a slice")
        axes.set_ylim(bottom=0)

    medians = [
        f"{label.replace(chr(10), ' ')} {format_number(np.median(box), 2)}"
        for label, box in zip(labels, boxes, strict=True)
        if box.size
    ]
    name = STRUCTURE_NAMES[structure]
    return draw_chart(
        f"area-{structure}",
        f"Area of the {name}",
        f"Boxes from the first to the third quartile, a line at the median: {', '.join(medians)} square centimetres.",
        draw,
    )


def draw_geometry(contents: Contents) -> list[Chart]:
    """Draw the distributions of pixel spacing, size and depth of the volumes."""
    spacing, size = _geometry(contents)
    depths = list(contents.depths.values())

    def draw_spacing(axes: "Axes") -> None:
        axes.hist(spacing[:, 2], bins=20, color=SERIES[0])
        axes.set(xlabel="pixel spacing, x (mm)", ylabel="volumes")
        count_in_whole_numbers(axes)

    def draw_size(axes: "Axes") -> None:
        places = Counter(map(tuple, size[:, ::-1].tolist()))
        x, y = np.array(list(places)).T
        axes.scatter(x, y, s=[12 + 4 * number for number in places.values()], color=SERIES[0], alpha=0.6, linewidths=0)
        most = int(size.max()) * 1.1
        axes.plot([0, most], [0, most], color=LINE, linewidth=1)
        axes.set(xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, most), ylim=(0, most), aspect="equal")

    def draw_depths(axes: "Axes") -> None:
        axes.hist(depths, bins=np.arange(min(depths) - 0.5, max(depths) + 1.5).tolist(), color=SERIES[0], rwidth=0.9)
        axes.set(xlabel="slices in a volume", ylabel="volumes")
        count_in_whole_numbers(axes)

    def between(values: Sequence[float]) -> str:
        low, middle, high = (format_number(value, 4) for value in np.quantile(values, (0, 0.5, 1)))
        return f"between {low} and {high}, median {middle}"

    different = len({tuple(one) for one in size.tolist()})
    square = np.mean(size[:, 0] == size[:, 1])
    return [
        draw_chart("spacing", "Pixel spacing", f"Histogram: {between(spacing[:, 2].tolist())} mm.", draw_spacing),
        draw_chart(
            "size",
            "Size of a slice before resizing",
            f"{different} different sizes; {format_percent(float(square))} of the volumes are square, on the diagonal "
            "line. A larger dot stands for more volumes.",
            draw_size,
        ),
        draw_chart("depth", "Depth", f"Histogram: {between(depths)} slices in a volume.", draw_depths),
    ]
