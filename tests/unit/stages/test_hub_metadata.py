import csv
from pathlib import Path

from acdc_medsam.formats.files import Row, read_sealed, read_table, sha256_file
from acdc_medsam.layout import MANIFEST_COLUMNS, METADATA_COLUMNS
from acdc_medsam.stages.hub_metadata import write_metadata
from acdc_medsam.stages.publish import remove_unplanned
from small_dataset import SmallDataset


def read_metadata(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def manifest_row(number: int, **values: str) -> Row:
    """A row of a manifest, in which every column has a value."""
    row = dict.fromkeys(MANIFEST_COLUMNS, "1")
    return {**row, "slice": f"patient001_frame01_slice_{number}", "split": "train", **values}


def test_each_slice_has_its_row_in_the_folder_of_its_split(small: SmallDataset) -> None:
    for seed in (2026, 7):
        small.publish(seed=seed)
        manifest = read_table(small.data / "manifest.tsv")
        found = {split: read_metadata(small.data / split / "metadata.csv") for split in ("train", "val", "test")}
        assert {split: [row["slice"] for row in rows] for split, rows in found.items()} == {
            split: [row["slice"] for row in manifest if row["split"] == split] for split in found
        }
        for split, rows in found.items():
            for row in rows:
                assert (small.data / split / row["file_name"]).name == f"{row['slice']}.png"
                assert (small.data / split / row["mask_file_name"]).is_file()
                assert (small.data / row["embedding"]).is_file()


def test_the_columns_are_those_of_the_manifest(small: SmallDataset) -> None:
    manifest = {row["slice"]: row for row in read_table(small.data / "manifest.tsv")}
    [header, *_] = (small.data / "train/metadata.csv").read_text().splitlines()
    # No patient of this dataset has notes.
    assert tuple(header.split(",")) == METADATA_COLUMNS[:-1]
    for split in ("train", "val", "test"):
        for row in read_metadata(small.data / split / "metadata.csv"):
            expected = manifest[row["slice"]] | {"fold": "-1"} if split == "test" else manifest[row["slice"]]
            names = [name for name in row if not name.endswith("file_name")]
            assert {name: row[name] for name in names} == {name: expected[name] for name in names}


def test_a_column_that_is_empty_for_a_slice_is_left_out(tmp_path: Path) -> None:
    rows = [manifest_row(0), manifest_row(1, spacing="", split="val"), manifest_row(2, notes="")]
    write_metadata(tmp_path, rows)
    for split in ("train", "val"):
        columns = list(read_metadata(tmp_path / f"data/ACDC/{split}/metadata.csv")[0])
        assert columns == [name for name in METADATA_COLUMNS if name not in ("spacing", "notes")]


def test_a_text_with_commas_and_quotes_is_read_back(tmp_path: Path) -> None:
    note = 'sform says "1 x 1", pixdim 1.3'
    [written] = write_metadata(tmp_path, [manifest_row(0, notes=note)])
    assert [row["notes"] for row in read_metadata(written.path)] == [note]
    assert written.sha256 == sha256_file(written.path)


def test_a_split_without_slices_has_no_metadata(small: SmallDataset) -> None:
    paths = [row for row in read_sealed(small.index) if row["file"].endswith("metadata.csv")]
    assert len(paths) == 3
    planned = {Path("data/ACDC/train/metadata.csv")}
    remove_unplanned(small.output, planned)
    assert list(small.data.rglob("metadata.csv")) == [small.data / "train/metadata.csv"]


def test_1841_slices_take_half_a_megabyte(tmp_path: Path) -> None:
    """The hub keeps a text of up to 10 MB as it is, and shows what changed in it."""
    rows = [
        manifest_row(
            number,
            patient="patient001",
            spacing="10 1.36719 1.36719",
            embedding=f"train/image_embeddings/patient001_frame01_slice_{number}.pt",
            notes="",
        )
        for number in range(1841)
    ]
    [written] = write_metadata(tmp_path, rows)
    assert written.bytes < 500_000
