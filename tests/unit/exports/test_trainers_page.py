"""What docs/trainers.md shows runs on an export, and its commands name files of the exports."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acdc_medsam.exports.registry import LAYOUTS
from exported import Exports
from workflow_run import SERVER

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/trainers.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))
EXPORTED = re.compile(r"data/exports/(\w+)[\w/.{}-]*")


@pytest.fixture
def exports(exports: Exports) -> Exports:
    """A small dataset that has cines, as the page has examples for them."""
    exports.add_cine(next(row["patient"] for row in exports.rows if row["split"] == "train"))
    return exports


@pytest.mark.parametrize("section", SECTIONS)
def test_an_example_runs_on_the_export(exports: Exports, section: str) -> None:
    example = re.search(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL)
    assert example is not None
    for name in set(EXPORTED.findall(example[1])):
        exports.make(name)
    script = exports.small.output / "example.py"
    script.write_text(example[1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    process = subprocess.run(
        [SERVER.python(), str(script)], cwd=script.parent, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout


@pytest.mark.parametrize("section", SECTIONS)
def test_a_command_names_what_the_export_has(exports: Exports, section: str) -> None:
    commands = "".join(re.findall(r"```(?:sh|yaml)\n(.*?)```", SECTIONS[section], re.DOTALL))
    for path in EXPORTED.finditer(commands):
        exports.make(path[1])
        assert (exports.small.output / path[0]).exists(), path[0]


def test_the_class_for_cines_gives_medsam2_the_labeled_frames_alone(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exports.make("medsam2")

    class NPZRawDataset:
        """As in MedSAM2: a frame keeps its index, by which the masks are loaded."""

        folder = str(exports.folder("medsam2"))

        def get_video(self, idx: int) -> tuple[SimpleNamespace, NDArray[np.uint8]]:
            name = (folder / "train_videos.txt").read_text().split()[idx]
            with np.load(folder / f"{name}.npz") as archive:
                frames = [SimpleNamespace(frame_idx=index) for index in range(len(archive["imgs"]))]
                return SimpleNamespace(video_name=name, frames=frames), archive["gts"]

    monkeypatch.setitem(sys.modules, "training.dataset.vos_raw_dataset", SimpleNamespace(NPZRawDataset=NPZRawDataset))
    blocks = re.findall(r"```python\n(.*?)```", SECTIONS["MedSAM2 with cines"], re.DOTALL)
    names: dict[str, Any] = {}
    exec(next(block for block in blocks if "class " in block), names)
    video, masks = names["LabelledFrames"]().get_video(0)
    assert [frame.frame_idx for frame in video.frames] == [index for index, mask in enumerate(masks) if mask.any()]


def test_every_target_is_on_the_page() -> None:
    assert set(LAYOUTS) <= set(re.findall(r"`(\w+)`", PAGE))
