"""The numbers of the report compared with plain computations, and planted anomalies that it must name."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.formats.files import Written
from acdc_medsam.measures.outlines import CLOSE_UP, close_up
from acdc_medsam.measures.records import REGIONS, Floats
from acdc_medsam.report.balance import (
    balance_section,
    count_groups,
    count_structures,
    describe_geometry,
    describe_unseen_groups,
)
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.cost import list_files, list_stages, read_jobs
from acdc_medsam.report.elements import format_bytes, format_number, format_seconds
from acdc_medsam.report.embeddings import embeddings_section, measure_drift
from acdc_medsam.report.extremes import find_extremes, resize_stretch
from acdc_medsam.report.glance import count_by_split, describe_remarks, warn_of_shared
from acdc_medsam.report.intensities import describe_quantization, intensities_section, modified_z_scores
from acdc_medsam.report.near_duplicates import (
    SHOWN_PAIRS,
    Comparison,
    Distribution,
    Similarities,
    between_phases,
    choose_threshold,
    compare_slices,
    identical_pictures,
)
from acdc_medsam.report.pictures import Axes, color_embedding, from_base_to_apex, principal_axes, trace_outlines
from report_contents import SLICES, make_contents

RANDOM = np.random.default_rng(0)


def named(title: str, contents=None) -> list[tuple[str, str]]:  # type: ignore[no-untyped-def]
    """Names of the slices of an extreme, with their values in words."""
    extreme = next(one for one in find_extremes(contents or make_contents()) if one.title == title)
    return [(row["slice"], value) for row, value in extreme.slices]


def test_a_dark_a_bright_and_a_blurred_image_are_named() -> None:
    contents = make_contents()
    dark, bright, blurred = contents.measures.slices[[7, 30, 50]].tolist()
    contents.measures.brightness[[7, 30]] = 0.001, 0.9
    contents.measures.blur[50] = 0.8
    assert named("Darkest", contents)[0] == (dark, "0.1 %")
    assert named("Brightest", contents)[0] == (bright, "90.0 %")
    assert named("Blurriest", contents)[0] == (blurred, "0.8")


def test_a_tiny_structure_is_named_and_an_absent_one_is_not() -> None:
    contents = make_contents()
    contents.rows[20]["rv_pixels"], contents.rows[40]["rv_pixels"] = "1", "0"
    found = named("Smallest right ventricle", contents)
    assert found[0] == (contents.rows[20]["slice"], "3 mm²")
    assert contents.rows[40]["slice"] not in dict(found)
    contents.rows[33]["lv_pixels"] = "5000"
    del contents.__dict__["areas"]
    assert named("Largest left ventricle", contents)[0] == (contents.rows[33]["slice"], "15,000 mm²")


def test_a_patient_is_in_an_extreme_only_once() -> None:
    contents = make_contents()
    contents.measures.brightness[:12] = 0.01
    patients = [name.split("_")[0] for name, _ in named("Darkest", contents)]
    assert len(patients) == len(set(patients)) == 4


def test_the_most_unequal_resize_is_named() -> None:
    contents = make_contents()
    contents.rows[3].update(height="50", width="150")
    assert named("Most unequal resize", contents)[0] == (contents.rows[3]["slice"], "3 times: 150 x 50")
    np.testing.assert_allclose(resize_stretch(contents.rows)[:4], [1.25, 1.25, 1.25, 3])


def test_groups_that_train_does_not_show_are_named() -> None:
    contents = make_contents()
    rows = [{**row, "split": "val" if row["group"] == "DCM" else "train"} for row in contents.rows]
    remark = describe_unseen_groups(replace(contents, rows=rows))
    assert remark is not None and remark.endswith("which a model is measured on without having seen: DCM (val).")
    everywhere = [{**row, "split": "train"} for row in contents.rows]
    assert describe_unseen_groups(replace(contents, rows=everywhere)) is None


@pytest.fixture
def from_h5() -> Contents:
    """Contents of a dataset that was made from H5 files without a spacing."""
    contents = make_contents()
    for row in contents.rows:
        row["spacing"] = ""
        row["notes"] = "group assumed" if row["patient"] == "patient001" else "group assumed; also holds scribble"
    measures = contents.measures
    unknown = {
        name: np.full_like(getattr(measures, name), np.nan) for name in ("clip_levels", "raw_minima", "raw_maxima")
    }
    raw_histograms = np.zeros_like(measures.raw_histograms)
    return replace(contents, measures=replace(measures, raw_histograms=raw_histograms, **unknown))


def test_without_a_spacing_sizes_are_in_pixels(from_h5: Contents) -> None:
    section = balance_section(from_h5)
    assert not any("mm" in row[0] for row in section.tables[2].rows) and "unknown" in section.tables[2].caption
    assert [chart.caption for chart in section.charts if "pacing" in chart.caption] == []
    area = next(chart for chart in section.charts if chart.caption.startswith("Area"))
    assert area.description.endswith("pixels.") and "pixels in a slice" in area.svg
    smallest = next(extreme for extreme in find_extremes(from_h5) if extreme.title == "Smallest right ventricle")
    assert smallest.slices[0][1] == "111 pixels"


def test_without_raw_images_only_normalized_intensities_are_shown(from_h5: Contents) -> None:
    section = intensities_section(from_h5)
    assert [chart.caption for chart in section.charts] == ["After clipping and scaling", "In the PNG images"]
    assert section.volumes.columns == ["Volume", "mean after clipping"] and len(section.volumes.rows) == 10
    assert "raw integer" not in section.quantization


def test_what_was_inferred_is_counted(from_h5: Contents) -> None:
    source = describe_remarks(from_h5)["Source"]
    assert "group assumed (5 patients)" in source and "also holds scribble (4 patients)" in source
    assert "areas are in pixels" in source and describe_remarks(make_contents()) == {}


def test_a_clip_level_far_from_the_others_is_named() -> None:
    contents = make_contents()
    assert intensities_section(contents).outliers == []
    contents.measures.clip_levels[4] = 2000
    lines = intensities_section(contents).outliers
    assert any(line.startswith("patient003_frame01: clip level is 2,000, ") and "above" in line for line in lines)


def test_modified_z_scores() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    np.testing.assert_allclose(modified_z_scores(values), 0.6745 * (values - 3) / 1)
    assert not modified_z_scores(np.array([2.0, 2.0, 2.0, 9.0])).any()


def test_the_error_of_eight_bits_is_given_in_gray_values() -> None:
    contents = make_contents()
    contents.measures.clip_levels[:4] = 300
    said = describe_quantization(contents)
    assert "0.25 gray values on average and by 0.5 at most" in said
    assert "In 6 of 10 volumes" in said


def compare(contents: Contents, threshold: float = 0.9, block: int = 1024) -> Comparison:
    """Compare all pairs of slices of the contents."""
    return compare_slices(contents, Similarities(contents.measures.pooled, contents.indices, block), threshold)


def test_a_slice_in_two_splits_is_found_by_bytes_and_embedding() -> None:
    contents = make_contents()
    assert identical_pictures(contents) == []
    assert compare(contents).near_duplicates.pairs == []
    contents.rows[-1]["image_sha256"] = contents.rows[2]["image_sha256"]
    contents.measures.pooled[-1] = 1.01 * contents.measures.pooled[2]
    contents.measures.pooled[1] = contents.measures.pooled[0]  # a pair within train is no leak
    one, other = f"train/{contents.rows[2]['slice']}", f"val/{contents.rows[-1]['slice']}"
    assert identical_pictures(contents) == [(one, other)]
    found = compare(contents).near_duplicates
    [pair] = found.pairs
    assert (found.count, found.doubled) == (1, 1)
    assert (pair.one, pair.other, pair.same_patient) == (one, other, False)
    assert pair.similarity > 0.99


def test_similarity_is_the_cosine_without_the_mean() -> None:
    pooled = RANDOM.normal(size=(5, 256, REGIONS, REGIONS)).astype(np.float32) + 100
    centered = (pooled - pooled.mean(0)).reshape(5, -1)
    plain = centered[1] @ centered[3] / np.linalg.norm(centered[1]) / np.linalg.norm(centered[3])
    similarities = Similarities(pooled, np.arange(5))
    assert similarities.of_pairs(np.array([1]), np.array([3])) == pytest.approx(plain, abs=1e-4)
    [(_, _, block)] = similarities.blocks()
    assert block[1, 3] == pytest.approx(plain, abs=1e-4)


def direct_similarities(contents: Contents) -> Floats:
    """Compute all similarities at once: (n, n)."""
    vectors = contents.measures.pooled[contents.indices].reshape(len(contents.rows), -1).astype(np.float64)
    centered = vectors - vectors.mean(0)
    directions = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    matrix: Floats = directions @ directions.T
    return matrix


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_blocks_of_pairs_give_what_all_pairs_at_once_give(block: int) -> None:
    contents = make_contents(patients=6)
    contents.rows[::5] = [{**row, "split": "test"} for row in contents.rows[::5]]  # type: ignore[index]
    contents.measures.pooled[:] = RANDOM.permutation(contents.measures.pooled + contents.measures.pooled[:, :1])
    contents.measures.slices[:] = contents.measures.slices[::-1].copy()
    threshold = 0.1
    direct = direct_similarities(contents)
    found = compare(contents, threshold, block)

    order = {name: index for index, name in enumerate(("train", "val", "test"))}
    rows = list(contents.rows)
    expected = [
        (direct[i, j], f"{one['split']}/{one['slice']}", f"{other['split']}/{other['slice']}")
        for i, one in enumerate(rows)
        for j, other in enumerate(rows)
        if order[one["split"]] < order[other["split"]] and direct[i, j] >= threshold
    ]
    assert found.near_duplicates.count == len(expected) > SHOWN_PAIRS
    assert found.near_duplicates.doubled == len({other for _, _, other in expected})
    shown = [(pair.one, pair.other) for pair in found.near_duplicates.pairs]
    assert shown == [(one, other) for _, one, other in sorted(expected, reverse=True)[:SHOWN_PAIRS]]

    patient = contents.column("patient")
    upper = np.triu(np.ones_like(direct, bool), 1)
    same = patient[:, np.newaxis] == patient
    for distribution, values in (
        (found.same_patient, direct[upper & same]),
        (found.different_patients, direct[upper & ~same]),
    ):
        assert distribution.histogram(80).tolist() == np.histogram(values, np.linspace(-1, 1, 81))[0].tolist()
        for share in (0, 0.5, 0.99, 1):
            assert distribution.quantile(share) == pytest.approx(np.quantile(values, share), abs=1e-4)


def test_quantiles_of_few_similarities_lie_between_them() -> None:
    distribution = Distribution()
    distribution.add(np.array([0.2, 0.8, 1 + 1e-15]))
    assert distribution.quantile(0.25) == pytest.approx(0.5, abs=1e-4)
    assert distribution.quantile(1) == pytest.approx(1, abs=1e-4)


def test_comparing_many_slices_takes_little_memory() -> None:
    # All similarities of 10,000 slices would take 800 MB. Moreover, all pairs are near-duplicates here.
    contents = make_contents()
    count = 10_000
    rows = [{**contents.rows[0], "patient": f"{n // 20}", "split": ("train", "val")[n % 2]} for n in range(count)]
    many = Contents(contents.root, rows, contents.measures, contents.quality)
    pooled = RANDOM.normal(size=(count, 4, 1, 1)).astype(np.float32)
    tracemalloc.start()
    try:
        found = compare_slices(many, Similarities(pooled, np.arange(count)), -2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.near_duplicates.count == (count // 2) ** 2 and len(found.near_duplicates.pairs) == SHOWN_PAIRS
    assert found.same_patient.counts.sum() + found.different_patients.counts.sum() == count * (count - 1) // 2
    assert peak < 150e6, peak


def test_the_threshold_is_the_similarity_of_both_phases() -> None:
    contents = make_contents()
    pooled = contents.measures.pooled
    pooled[SLICES : 2 * SLICES] = pooled[:SLICES]  # the two frames of the first patient
    phases = between_phases(contents, Similarities(pooled, contents.indices, block=4))
    assert len(phases) == len(contents.rows) / 2 and np.count_nonzero(phases > 0.999) == SLICES
    direct = direct_similarities(contents)
    assert phases[-1] == pytest.approx(direct[-1 - SLICES, -1])
    assert choose_threshold(np.array([0.8, *[0.95] * 20])) == 0.95
    assert choose_threshold(np.array([0.1, 0.2, 0.3])) == choose_threshold(np.zeros(0)) == 0.9


def test_drift_is_unusual_only_if_the_means_of_the_splits_differ() -> None:
    units = [f"patient{number // 5:03d}" for number in range(200)]
    validation = [unit < "patient008" for unit in units]
    vectors = RANDOM.normal(size=(200, 256))
    scaled = (vectors - vectors.mean(0)) / vectors.std(0)
    inside = np.array(validation)
    plain = np.sqrt(np.mean((scaled[inside].mean(0) - scaled[~inside].mean(0)) ** 2))
    alike = measure_drift(vectors, validation, units)
    assert alike.distance == pytest.approx(plain)
    assert alike.random[0] < alike.distance < alike.random[1] and alike.share > 0.05
    vectors[inside] += 0.5
    apart = measure_drift(vectors, validation, units)
    assert apart.distance > apart.random[1] and apart.share == 0


def test_a_dataset_without_val_has_no_drift_and_empty_tables() -> None:
    contents = make_contents(patients=1)
    for row in contents.rows:
        row.update(split="train", rv_pixels="0")
    assert embeddings_section(contents).drift is None
    assert count_structures(contents).rows[1] == ["split val", "0", *["0", ""] * 3]
    assert len(balance_section(contents).charts) == 7


def test_principal_axes_are_those_of_all_vectors() -> None:
    contents = make_contents()
    vectors = RANDOM.normal(size=(1000, 256)) * np.linspace(3, 0.1, 256) + 2
    pooled = np.broadcast_to(vectors.mean(0)[:, np.newaxis, np.newaxis], (1, 256, REGIONS, REGIONS))
    known = {"pooled": pooled, "tokens": np.array(1000), "token_products": vectors.T @ vectors}
    axes = principal_axes(type(contents.measures)(**{**vars(contents.measures), **known}))
    _, values, plain = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(axes.axes * plain[:3], axis=1)), 1, atol=1e-6)
    np.testing.assert_allclose(axes.deviations, values[:3] / np.sqrt(1000), rtol=1e-6)
    assert axes.explained == pytest.approx((values[:3] ** 2).sum() / (values**2).sum())


def test_colors_of_an_embedding_show_its_position_along_the_axes() -> None:
    axes = Axes(np.zeros(256), np.eye(3, 256), np.ones(3), 1.0)
    embedding = np.zeros((256, 64, 64), np.float32)
    embedding[0, 10, 20], embedding[1, 10, 20] = 2.5, -9
    colors = color_embedding(embedding, axes)
    assert colors.shape == (64, 64, 3)
    assert colors[10, 20].tolist() == [255, 0, 128] and colors[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize("turned", [False, True])
def test_slices_run_from_base_to_apex_either_way(turned: bool) -> None:
    rows = make_contents().rows[:SLICES]
    if turned:
        for row in rows:
            row["slice_index"] = str(SLICES - 1 - int(row["slice_index"]))
    ordered = from_base_to_apex(rows[::-1])
    assert [int(row["rv_pixels"]) for row in ordered] == sorted((int(row["rv_pixels"]) for row in rows), reverse=True)


def test_outlines_run_around_the_structures() -> None:
    mask = np.zeros((1024, 1024), np.uint8)
    mask[400:600, 200:300] = 3
    paths = trace_outlines(mask)
    assert list(paths) == ["LV"]
    points = np.array([point.split() for point in paths["LV"].strip("MZ").split("L")], float)
    np.testing.assert_allclose(points.min(0), (50, 100), atol=1)
    np.testing.assert_allclose(points.max(0), (75, 150), atol=1)


def test_a_close_up_holds_the_structures_and_stays_inside() -> None:
    mask = np.zeros((100, 100), np.uint8)
    assert close_up(mask) == (0, 0, 1)
    mask[45:55, 60:70] = 1
    assert close_up(mask) == pytest.approx((0.4, 0.25, CLOSE_UP))
    mask[:, :] = 0
    mask[0, 99] = 1
    assert close_up(mask) == pytest.approx((0.5, 0, CLOSE_UP))


def test_tables_count_patients_frames_slices_and_pixels() -> None:
    contents = make_contents()
    splits = {row[0]: row[1:] for row in count_by_split(contents).rows}
    assert splits == {"train": ["4", "8", "48", "8"], "val": ["1", "2", "12", "2"], "all": ["5", "10", "60", "10"]}
    contents.rows[0]["rv_pixels"] = "0"
    slices = {row[0]: row[1:] for row in count_structures(contents).rows}
    assert slices["phase ED"][:2] == ["30", "29"] and slices["split val"][0] == slices["group DCM"][0] == "12"
    pixels = sum(int(row["lv_pixels"]) for row in contents.rows)
    assert slices["all"][-1] == f"{100 * pixels / 60 / 8000:.1f} %"
    assert count_groups(contents).rows[1] == ["val", "1 (12)", "0 (0)", "0 (0)", "0 (0)", "0 (0)"]
    geometry = {row[0]: row[1:] for row in describe_geometry(contents).rows}
    assert geometry["pixel spacing, x (mm)"] == ["2", "2", "2", "1"]
    assert geometry["slices in a volume"][0] == "7"


def test_shared_patients_are_named_in_a_warning() -> None:
    contents = make_contents()
    assert warn_of_shared(contents) is None
    contents.rows[0]["split"] = "val"
    del contents.__dict__["shared"]
    warning = warn_of_shared(contents)
    assert warning is not None and "1 of 5 patients is in more than one split" in warning and "patient001" in warning
    assert count_by_split(contents).rows[0][-1] == "in no split"


def test_cost_is_read_from_the_benchmark_files(tmp_path: Path) -> None:
    head = "s\th:m:s\tmax_rss\tcpu_time\n"
    files = {
        "render/patient001": "1.5\t0:00:01\t100.00\t1.2\n",
        "render/patient002": "2.5\t0:00:02\tNA\tNA\n",
        "render/patient009": "9\t0:00:09\t1\t9\n",
        "embed/p001-016": "60\t0:01:00\t700\t110\n",
        "split": "0.2\t0:00:00\t-\t-\n",
        "report": "5\t0:00:05\t1\t5\n",
    }
    for name, line in files.items():
        (tmp_path / f"{name}.tsv").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.tsv").write_text(head + line)
    jobs = read_jobs(tmp_path, ["patient001", "patient002", "p001-016"])
    rows = {row[0]: row[1:] for row in list_stages(jobs, patients=2).rows}
    assert list(rows) == ["render", "embed", "split", "all"]
    assert rows["render"] == ["2", "4 s", "2 s", "1.2 s", "2.5 s (patient002)", "105 MB"]
    assert rows["all"][:3] == ["4", "1 min 4 s", "32 s"]


def test_bytes_are_counted_by_kind_of_file(tmp_path: Path) -> None:
    names = ["data/ACDC/val/images/a.png", "data/ACDC/train/images/b.png", "ACDC_training_volumes/v.h5"]
    sizes = zip(names, (1000, 3000, 500), strict=True)
    assert list_files([Written(tmp_path / name, size, "x", 0) for name, size in sizes]).rows == [
        ["PNG images", "2", "4 kB", "2 kB"],
        ["H5 volumes", "1", "500 bytes", "500 bytes"],
        ["all", "3", "4.5 kB", ""],
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (format_number(0.012345), "0.0123"),
        (format_number(1234.5), "1,230"),
        (format_number(0), "0"),
        (format_number(7, 4), "7"),
        (format_seconds(0.444), "0.44 s"),
        (format_seconds(3725), "1 h 2 min"),
        (format_bytes(7.7e9), "7.7 GB"),
        (format_bytes(0), "0 bytes"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected
