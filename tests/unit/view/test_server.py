"""The viewer answers its own page, and nobody else; and what is damaged is named."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("aiohttp", reason="aiohttp is not installed; `make test` installs it")

from acdc_medsam.cli import main
from acdc_medsam.formats.files import read_table, write_table
from acdc_medsam.formats.png import read_gray
from acdc_medsam.layout import MANIFEST, MANIFEST_COLUMNS
from acdc_medsam.view import server
from acdc_medsam.view.dataset import ViewedDataset
from acdc_medsam.view.server import PAGE, Viewer, run_lengths
from copy_defects import flip_bit
from small_dataset import SmallDataset
from viewing import Served, random_decoder, serving

BOX = {"box": [300, 300, 700, 700]}


@pytest.fixture(scope="module")
def data(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published small dataset; never written to."""
    small = SmallDataset(shutil.copytree(made, tmp_path_factory.mktemp("viewed") / "set"))
    small.publish()
    return small.data


@pytest.fixture(scope="module")
def served(data: Path) -> Iterator[Served]:
    """A viewer of it."""
    with serving(Viewer(ViewedDataset(data), random_decoder())) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def name(served: Served) -> str:
    """Name of a slice."""
    return next(iter(served.viewer.dataset.rows))


def test_the_page_and_the_dataset_are_served(served: Served, name: str, data: Path) -> None:
    for file in ("", *(path.name for path in PAGE.iterdir() if path.suffix != ".html"), "style.css"):
        status, headers, content = served.request(file)
        assert status == 200 and content, file
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers

    described = served.request("dataset")[2]
    slices = [slice_ for volume in described["volumes"] for slice_ in volume["slices"]]
    assert {slice_["name"] for slice_ in slices} == {row["slice"] for row in read_table(data / MANIFEST)}
    assert described["decoder"] == {"name": "lite_medsam", "fineTuned": False} and described["reason"] is None

    folder = data / served.viewer.dataset.rows[name]["split"]
    assert served.request(f"slices/{name}/image")[2] == (folder / "images" / f"{name}.png").read_bytes()
    mask = served.request(f"slices/{name}/mask")[2]
    pixels = np.repeat(mask["values"], mask["lengths"]).reshape(mask["size"], mask["size"])
    np.testing.assert_array_equal(pixels, read_gray(folder / "masks" / f"{name}.png"))
    with Image.open(io.BytesIO(served.request(f"slices/{name}/embedding")[2])) as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")


def test_the_decoder_answers(served: Served, name: str) -> None:
    status, _, content = served.request(f"slices/{name}/answer", BOX)
    assert status == 200 and sum(content["mask"]["lengths"]) == content["mask"]["size"] ** 2
    ((structure, dice),) = content["dice"].items()
    assert structure in ("RV", "MYO", "LV") and 0 <= dice <= 1


@pytest.mark.parametrize("path", ["/", "/dataset", "/TOKEN", "/TOKEN/dataset", "//dataset", "/%ff/", "/%2e%2e/"])
def test_without_the_token_nothing_is_answered(served: Served, path: str) -> None:
    token = served.address.split("/")[3]
    assert served.request(path.replace("TOKEN", token[:-1] + "~"))[0] == 403
    assert served.request(path.replace("TOKEN", token[:-1]))[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:PORT", "127.0.0.1", "localhost:1", "127.0.0.2:PORT", ""]
)
def test_another_host_is_refused(served: Served, name: str, host: str) -> None:
    """A name of another site that was made to lead to this machine."""
    asked = host.replace("PORT", served.host.split(":")[1])
    assert served.request("dataset", headers={"Host": asked})[0] == 403
    own = {"Host": asked, "Origin": f"http://{asked}"}
    assert served.request(f"slices/{name}/answer", BOX, own)[0] == 403


def test_localhost_is_this_machine(served: Served) -> None:
    assert served.request("dataset", headers={"Host": served.host.replace("127.0.0.1", "localhost")})[0] == 200


@pytest.mark.parametrize("origin", [None, "null", "https://HOST", "http://evil.example", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_may_not_ask(served: Served, name: str, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin.replace("HOST", served.host)}
    assert served.request(f"slices/{name}/answer", BOX, headers)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        *("slices/patient999/image", "slices/..%2F..%2Fmanifest/image", "slices/../../manifest.tsv", "slices//image"),
        *(
            "../../../../etc/passwd",
            "%2e%2e/page.js",
            "page.html",
            "manifest.tsv",
            "slices/%00/mask",
            "slices/%ff/mask",
        ),
    ],
)
def test_what_is_not_in_the_dataset_is_not_there(served: Served, path: str) -> None:
    assert served.request(path)[0] in (403, 404)


def test_wrong_questions_are_refused(served: Served, name: str) -> None:
    question = f"slices/{name}/answer"
    assert served.request(question, b"{")[::2] == (400, {"error": "this is no prompt"})
    assert served.request(question, b" " * (server.MAX_BODY + 1))[0] == 413
    assert served.request("slices/patient999/answer", BOX)[0] == 404
    assert served.request(question)[0] == 405 and served.request("dataset", BOX)[0] == 405
    assert served.request(question, method="OPTIONS")[0] == 405


def test_a_damaged_file_is_named_and_the_viewer_goes_on(small: SmallDataset) -> None:
    dataset = ViewedDataset(small.data)
    damaged, sound = [name for name, row in dataset.rows.items() if row["split"] == "train"][:2]
    folder = small.data / "train"
    with serving(Viewer(dataset, random_decoder())) as served:
        for kind, suffix in (("images", "png"), ("image_embeddings", "pt"), ("masks", "png")):
            path = folder / kind / f"{damaged}.{suffix}"
            what = kind.removesuffix("s").removeprefix("image_")
            kept = path.read_bytes()
            flip_bit(path, len(kept) // 2)
            status, _, content = served.request(f"slices/{damaged}/{what}")
            assert status == 500 and str(path) in content["error"] and "snakemake repair" in content["error"]
            if what != "image":
                assert str(path) in served.request(f"slices/{damaged}/answer", BOX)[2]["error"]
            assert served.request(f"slices/{sound}/{what}")[0] == 200

            path.unlink()
            assert "has gone since" in served.request(f"slices/{damaged}/{what}")[2]["error"]
            path.mkdir()
            assert f"{path}: Is a directory" in served.request(f"slices/{damaged}/{what}")[2]["error"]
            path.rmdir()
            path.write_bytes(kept)
            assert served.request(f"slices/{damaged}/{what}")[0] == 200


def test_runs_of_a_mask() -> None:
    label = np.array([[0, 0], [2, 0]], np.uint8)
    assert run_lengths(label) == {"size": 2, "lengths": [2, 1, 1], "values": [0, 2, 0]}
    assert run_lengths(label[:1, :1]) == {"size": 1, "lengths": [1], "values": [0]}


def test_without_embeddings_everything_else_is_shown(small: SmallDataset) -> None:
    small.publish(embeddings=False)
    dataset = ViewedDataset(small.data)
    name = next(iter(dataset.rows))
    with serving(Viewer(dataset, "no embeddings")) as served:
        described = served.request("dataset")[2]
        assert (described["decoder"], described["reason"]) == (None, "no embeddings")
        assert served.request(f"slices/{name}/answer", BOX)[2] == {"error": "no embeddings"}
        assert "has no embedding" in served.request(f"slices/{name}/embedding")[2]["error"]
        assert served.request(f"slices/{name}/mask")[0] == 200


@pytest.fixture
def serves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that is wrongly accepted ends the test instead of being served until Ctrl-C."""
    monkeypatch.setattr(server, "serve", lambda *_: None)


@pytest.mark.usefixtures("serves_nothing")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slice_index": "x", "rv_pixels": "-1"}, "row 1: slice_index, rv_pixels cannot be used"),
        ({"phase": "XX"}, "row 1: phase cannot be used"),
        ({"slice": "../../secret"}, "is not the name of a file in the dataset's folder"),
        ({"embedding": "/etc/passwd"}, "is not the name of a file in the dataset's folder"),
        ({"split": "../train"}, "there are no slices to look at"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], message: str
) -> None:
    write_table(tmp_path / MANIFEST, MANIFEST_COLUMNS, [read_table(data / MANIFEST)[0] | change])
    assert main(["view", str(tmp_path), "--no-browser"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("serves_nothing")
def test_a_manifest_without_columns_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path / MANIFEST, ["slice", "split"], [{"slice": "a", "split": "train"}])
    assert main(["view", str(tmp_path)]) == 1
    assert "row 1: patient, frame, phase" in capsys.readouterr().err


def test_the_library_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["view"]) == 1
    assert "the viewer needs aiohttp: pip install aiohttp" in capsys.readouterr().err


def test_the_command_serves_this_machine_until_it_is_interrupted(data: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": f"{browser} %s", "DISPLAY": ":0"}
    command = [sys.executable, "-m", "acdc_medsam", "view", str(data)]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        address, hint = (process.stdout.readline().rstrip() for _ in range(2))
        status = Served(None, address).request("dataset")[0]  # type: ignore[arg-type]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert status == 200 and (tmp_path / "opened").read_text() == f"{address}\n"
    assert (process.returncode, hint, output, errors) == (0, "Ctrl-C ends the viewer.", "", "")


def test_only_this_machine_can_reach_the_port() -> None:
    listener, token, address = server.listen()
    with listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1" and address == f"http://127.0.0.1:{port}/{token}/" and len(token) >= 32
