import math
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.acdc.patient_facts import MAX_FACTS_BYTES, parse_facts, read_facts
from acdc_medsam.errors import CohortError

AFFINE = "-1.5 0 0 10 0 -2 0 20 0 0 10 30 0 0 0 1"


def write(folder: Path, text: str) -> None:
    (folder / "patients.tsv").write_text(text, encoding="utf-8")


def test_without_a_table_nothing_is_stated(tmp_path: Path) -> None:
    assert read_facts(tmp_path) == {}
    facts = parse_facts({}, (1, 12))
    assert facts.group is facts.phases is facts.spacing is facts.affine is None
    assert math.isnan(facts.height) and math.isnan(facts.weight)


def test_empty_cells_state_nothing(tmp_path: Path) -> None:
    write(tmp_path, "\ufeffpatient\tgroup\theight\r\npatient001\tDCM\t\r\npatient007\t \t170.5\r\n")
    assert read_facts(tmp_path) == {"patient001": {"group": "DCM"}, "patient007": {"height": "170.5"}}


def test_all_facts() -> None:
    cells = {"group": "RV", "height": "170", "weight": "80.5", "es": "12", "spacing": "10 1.5 1.25"}
    facts = parse_facts(cells, (1, 12))
    assert (facts.group, facts.height, facts.weight) == ("RV", 170, 80.5)
    assert facts.phases == {1: "ED", 12: "ES"}, "the other frame is the other phase"
    assert facts.spacing == (10, 1.5, 1.25)


def test_the_affine_gives_the_spacing_unless_it_is_stated() -> None:
    facts = parse_facts({"affine": AFFINE}, (1, 2))
    assert facts.affine is not None
    np.testing.assert_array_equal(facts.affine[:3, 3], (10, 20, 30))
    assert facts.spacing == (10, 2, 1.5)
    assert parse_facts({"affine": AFFINE, "spacing": "9 1 1"}, (1, 2)).spacing == (9, 1, 1)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"group": "XYZ"}, "group is 'XYZ'"),
        ({"height": "tall"}, "height is 'tall'; expected 1 numbers"),
        ({"weight": "-70"}, "weight is '-70'; expected a positive number"),
        ({"weight": "nan"}, "weight is 'nan'"),
        ({"ed": "3"}, "ed is '3'; expected the number of one of the frames, 1 and 12"),
        ({"ed": "\u0661"}, "ed is"),
        ({"ed": "1", "es": "1"}, "ed and es are the same frame"),
        ({"spacing": "1.5 1.5"}, "spacing is '1.5 1.5'; expected 3 numbers"),
        ({"spacing": "10 0 1"}, "expected 3 positive numbers"),
        ({"spacing": "10 inf 1"}, "expected 3 numbers"),
        ({"affine": "1 2 3"}, "affine is '1 2 3'; expected 16 numbers"),
        ({"affine": " ".join(["0"] * 15) + " 1"}, "affine is not a matrix from voxels to mm"),
    ],
)
def test_an_unusable_cell_is_named(cells: dict[str, str], message: str) -> None:
    with pytest.raises(CohortError, match=message):
        parse_facts(cells, (1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tgroup\nx\tDCM\n", "unknown columns 'name'"),
        ("group\nDCM\n", "has no column 'patient'"),
        ("patient\tgroup\npatient1\tDCM\n", "'patient1' is no patient's name"),
        ("patient\tgroup\npatient001\tDCM\npatient001\tHCM\n", "'patient001' is listed twice"),
        ("patient\tgroup\npatient001\n", "not a readable table"),
        ("patient\n" + "patient001\n" * (MAX_FACTS_BYTES // 10), "is longer than"),
    ],
)
def test_an_unusable_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(CohortError, match=message):
        read_facts(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "patients.tsv").write_bytes("patient\tgroup\n".encode("utf-16"))
    with pytest.raises(CohortError, match="not a readable table of tab-separated text"):
        read_facts(tmp_path)
