"""Training on few patients, and what is written down about a training."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from acdc_medsam.acdc.labels import GROUPS
from acdc_medsam.data.assignment import AS_PUBLISHED, Assignment
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, sha256_file, write_bytes
from acdc_medsam.train.budget import limit_training, rank_by_turns
from acdc_medsam.train.facts import describe_training, is_finished, read_facts, write_facts
from acdc_medsam.train.options import TrainOptions

GROUPS_OF = {f"patient{number:03d}": GROUPS[number % 5] for number in range(40)} | {"patient900": "unknown"}


def make_rows() -> list[Row]:
    """Two slices of each patient; every eighth patient is in ``val``."""
    splits = {patient: "val" if index % 8 == 7 else "train" for index, patient in enumerate(GROUPS_OF)}
    return [
        {"slice": f"{patient}_{index}", "patient": patient, "group": group, "split": splits[patient]}
        for patient, group in GROUPS_OF.items()
        for index in range(2)
    ]


def trained_on(patients: int | None, seed: int = 1) -> set[str]:
    rows = make_rows()
    assignment = limit_training(rows, AS_PUBLISHED, patients, seed)
    return {row["patient"] for row in rows if assignment.split_of(row) == "train"}


def test_a_larger_budget_holds_the_smaller_ones() -> None:
    sets = [trained_on(patients) for patients in (*range(1, 37), None)]
    assert [len(one) for one in sets] == [*range(1, 37), 36]
    assert all(smaller <= larger for smaller, larger in pairwise(sets))


def test_the_groups_take_turns() -> None:
    ranked = rank_by_turns(GROUPS_OF, 7)
    assert sorted(ranked) == sorted(GROUPS_OF)
    assert len({GROUPS_OF[patient] for patient in ranked[:6]}) == 6
    for first in range(6, 36, 5):
        assert len({GROUPS_OF[patient] for patient in ranked[first : first + 5]}) == 5
    assert ranked != rank_by_turns(GROUPS_OF, 8)


def test_validation_stays_as_it_is() -> None:
    rows = make_rows()
    limited = limit_training(rows, AS_PUBLISHED, 3, 1)
    val = [[row["slice"] for row in rows if one.split_of(row) == "val"] for one in (AS_PUBLISHED, limited)]
    assert val[0] == val[1] != []


def test_more_patients_than_there_are_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"train\.patients is 37, and there are only 36 patients to train on"):
        trained_on(37)


def test_an_assignment_says_which_slices_are_used() -> None:
    row = {"slice": "patient001_frame01_slice_0", "patient": "patient001", "split": "val"}
    assert AS_PUBLISHED.split_of(row) == "val"
    assert Assignment({"patient001": "test"}).split_of(row) == "test"
    assert Assignment({"patient002": "test"}).split_of(row) == ""
    assert Assignment({"patient001": "train"}, frozenset(["patient001"])).split_of(row) == ""


def test_the_facts_of_a_training_belong_to_its_model(tmp_path: Path) -> None:
    model = tmp_path / "model.pth"
    rows = make_rows()
    facts = describe_training(rows, limit_training(rows, AS_PUBLISHED, 2, 1), TrainOptions(patients=2))
    others = [write_bytes(tmp_path / name, b"x") for name in ("best.ckpt", "log.tsv")]
    written = write_facts(write_bytes(model, b"weights"), others, "identity", facts)
    assert written.path == tmp_path / "training.json" and written.sha256 == sha256_file(written.path)

    found = read_facts(model)
    assert found is not None and found["patients"]["train"] == sorted(trained_on(2))
    assert found["slices"] == {"train": 4, "val": 10} and found["options"]["patients"] == 2
    assert is_finished(model, "identity") and not is_finished(model, "other")
    write_bytes(tmp_path / "log.tsv", b"y")
    assert not is_finished(model, "identity")
    write_bytes(model, b"other weights")
    assert read_facts(model) is None and not is_finished(model, "identity")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_sha256": 1}', '{"patients": 1, "model_sha256": "x"}'])
def test_damaged_facts_are_none(tmp_path: Path, content: str) -> None:
    model = write_bytes(tmp_path / "model.pth", b"weights")
    (tmp_path / "training.json").write_text(content.replace("x", model.sha256))
    assert read_facts(model.path) is None
    (tmp_path / "training.json").write_text(json.dumps({"model_sha256": model.sha256, "patients": {"train": None}}))
    assert read_facts(model.path) is None
