import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.stages.split_file import MAX_SPLIT_FILE_BYTES, read_split_file, require_listed_patients_exist

GOOD = "patient\tsplit\npatient001\ttrain\npatient002\tval\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "splits.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        "# by hand\n\nsplit\tpatient\ntrain\tpatient001\n  \nval\tpatient002\n",
        GOOD.replace("\t", "\t "),
    ],
)
def test_each_line_is_a_patient_and_its_split(tmp_path: Path, content: str) -> None:
    listed = read_split_file(write(tmp_path, content))
    assert {patient: entry.split for patient, entry in listed.items()} == {"patient001": "train", "patient002": "val"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"splits\.tsv, line 1: the header is ''; give the columns 'patient' and 'split'"),
        ("# nothing\n", "line 1: the header is ''"),
        ("patient001\ttrain\n", "line 1: the header is 'patient001 train'"),
        ("\npatient,split\n", "line 2: the header is 'patient,split'"),
        ("patient\tsplit\tsplit\n", "line 1: the header is 'patient split split'"),
        (GOOD + "patient003\n", "line 4: 1 columns instead of 2"),
        (GOOD + "patient003\tval\tx\n", "line 4: 3 columns instead of 2"),
        (GOOD + "\n003\tval\n", "line 5: '003' is no patient's name"),
        (GOOD + "../patient003\tval\n", r"line 4: '\.\./patient003' is no patient's name"),
        (GOOD + "patient001\tval\n", "line 4: patient001 is on line 2 already"),
        (GOOD + "patient003\tvalidation\n", "line 4: patient003 is in 'validation'; expected one of train, val, test"),
        (GOOD + "patient003\t\n", "line 4: patient003 is in ''"),
        (b"patient\tsplit\n\xff\n", "is not text in UTF-8"),
        ("#" * (MAX_SPLIT_FILE_BYTES + 1), f"is longer than {MAX_SPLIT_FILE_BYTES} bytes"),
    ],
    ids=range(14),
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_split_file(write(tmp_path, content))
    assert "splits.tsv" in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nothing.tsv", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=f"there is no file {path}"):
            read_split_file(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_a_closed_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_split_file(path)


def test_a_table_that_changed_since_the_run_was_planned_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    announced = hashlib.sha256(GOOD.encode()).hexdigest()
    assert len(read_split_file(path, announced)) == 2
    write(tmp_path, GOOD + "patient003\tval\n")
    with pytest.raises(DatasetError, match="changed while the run was at work"):
        read_split_file(path, announced)


def test_patients_that_do_not_exist_are_named_with_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    listed = read_split_file(path)
    require_listed_patients_exist(path, listed, {"patient001", "patient002", "patient003"})
    with pytest.raises(ConfigError, match=r"not in the raw folder: patient001 \(line 2\), patient002 \(line 3\);"):
        require_listed_patients_exist(path, listed, ["patient003"])


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: f"patient\tsplit\n{text}".encode()),
        st.lists(st.tuples(st.sampled_from(["patient001", "patient002", "x"]), st.sampled_from(["val", "test", "y"])))
        .map(lambda rows: "".join(f"{a}\t{b}\n" for a, b in [("patient", "split"), *rows]))
        .map(str.encode),
    )
)
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), content)
    try:
        listed = read_split_file(path)
    except ConfigError as error:
        assert str(path) in str(error)
    else:
        assert {entry.split for entry in listed.values()} <= {"train", "val", "test"}
