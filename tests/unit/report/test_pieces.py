"""What the report draws again, and what it takes from the last one."""

import re
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_medsam.formats.files import read_table, seal
from acdc_medsam.report import drawing, pictures
from acdc_medsam.report.page import PIECES
from acdc_medsam.report.pieces import Pieces, digest
from small_dataset import SmallDataset

PUBLISHED = re.compile(r"[\d-]+ \d\d:\d\d UTC")
SAME = ({"svg": "<svg/>"}, {"svg": "other"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a report with two pieces."""
    pieces = Pieces(tmp_path / PIECES, "code")
    for name, piece in zip("ab", SAME, strict=True):
        assert pieces.look_up(name, partial(dict, piece)) == piece
    pieces.save()
    return tmp_path / PIECES


def test_a_piece_of_the_last_report_is_not_drawn_again(path: Path) -> None:
    pieces = Pieces(path, "code")
    assert [pieces.look_up(name, pytest.fail) for name in "ba"] == [*SAME[::-1]]
    assert pieces.describe() == "drew 0 pieces, kept 2"


def test_a_piece_that_is_no_longer_shown_is_removed(path: Path) -> None:
    pieces = Pieces(path, "code")
    pieces.look_up("a", pytest.fail)
    pieces.save()
    pieces = Pieces(path, "code")
    assert pieces.look_up("b", lambda: {"svg": "new"}) == {"svg": "new"}
    assert b"other" not in path.read_bytes()


def test_other_code_draws_everything_again(path: Path) -> None:
    assert Pieces(path, "edited").look_up("a", lambda: {"svg": "new"}) == {"svg": "new"}


def test_another_version_of_a_library_draws_everything_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda package: "99")
    assert Pieces(path, "code").look_up("a", lambda: {"svg": "new"}) == {"svg": "new"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"<svg/>", b"<SVG/>"),
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: seal(b"[]"),
        lambda data: seal(b"no JSON"),
        lambda data: seal(b"\xff"),
    ],
)
def test_a_damaged_file_counts_as_none(path: Path, damage: Callable[[bytes], bytes]) -> None:
    path.write_bytes(damage(path.read_bytes()))
    pieces = Pieces(path, "code")
    assert pieces.look_up("a", lambda: SAME[0]) == SAME[0]
    pieces.save()
    assert Pieces(path, "code").look_up("a", pytest.fail) == SAME[0]


def test_a_digest_tells_values_apart() -> None:
    array = np.arange(6, dtype=np.float64)
    values = [
        "1", 1, 1.0, True, None, ["1"], [1], [], "", [[], []], [[[]]], ["a", "b"], ["ab"], {"a": "b"}, {"b": "a"},
        array, array.reshape(2, 3), array.astype(np.float32), array[::-1], array[:3],
    ]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)
    assert len({digest(*values), digest(values), digest(*values[::-1])}) == 3


def test_equal_values_have_equal_digests() -> None:
    array = np.arange(6, dtype=np.float64)
    assert digest({"a": array, "b": (1, 2.5)}) == digest({"a": array.copy(), "b": [np.int64(1), np.float64(2.5)]})
    assert digest(array[::2]) == digest(array[::2].copy())


def test_what_has_no_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="no digest of set"):
        digest({"a": {1, 2}})


class Drawn:
    """What a report has drawn: the patients of its slices, the number of embeddings, and its charts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slices = list[Path]()
        self.embeddings = list[Path]()
        self.charts = list[str]()
        for module, name, note in (
            (pictures, "draw_slice", lambda image, *_: self.slices.append(image)),
            (pictures, "draw_embedding", lambda path, _: self.embeddings.append(path)),
            (drawing, "_embed", lambda _, name: self.charts.append(name)),
        ):
            monkeypatch.setattr(module, name, self._noting(getattr(module, name), note))

    @staticmethod
    def _noting(draw: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        @wraps(draw)
        def noting(*arguments: Any) -> Any:
            note(*arguments)
            return draw(*arguments)

        return noting

    def take(self) -> tuple[set[str], int, set[str]]:
        """Return what was drawn since the last call."""
        found = {path.name.split("_")[0] for path in self.slices}, len(self.embeddings), set(self.charts)
        for noted in (self.slices, self.embeddings, self.charts):
            noted.clear()
        return found


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return Drawn(monkeypatch)


def test_a_changed_patient_is_drawn_again_and_the_others_are_not(small: SmallDataset, raw: Path, drawn: Drawn) -> None:
    first = small.report(raw)
    patients, embeddings, charts = drawn.take()
    assert len(patients) == len(small.tables) and embeddings and len(charts) == 15

    # The page says in which minute the dataset was published.
    again = small.report(raw)
    assert PUBLISHED.sub("", again) == PUBLISHED.sub("", first)
    assert drawn.take() == (set(), 0, set())

    row = next(row for row in read_table(small.data / "manifest.tsv") if row["split"] == "train")
    small.replace_image(row, np.full((64, 64), 3, np.uint8))
    changed = small.report(raw)
    about_all = {"histogram-png", "map-split", "map-group", "norms", "similarity"}
    assert drawn.take() == ({row["patient"]}, embeddings, about_all), "the axes change with any embedding"

    (small.work / PIECES).unlink()
    assert small.report(raw, publish=False) == changed != first
    assert drawn.take() == (patients, embeddings, charts)

    assert small.report(raw, publish=False, code="edited") == changed
    assert drawn.take() == (patients, embeddings, charts)


def test_what_was_damaged_since_the_last_report_is_not_shown_as_it_was(reported: SmallDataset, raw: Path) -> None:
    for path in reported.data.glob("*/images/*.png"):
        path.unlink()
        path.write_bytes(b"damaged")
    assert reported.report(raw, publish=False).count("not a readable PNG") > len(reported.tables)
