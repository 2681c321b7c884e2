"""Pushing to the hub, with the hub's own client, against a stand-in for the hub on this machine."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from copy_defects import flip_bit
from hub_server import TOKEN, Hub, StoredRepository, running_hub
from small_dataset import SmallDataset, provenance_of

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed; `make test` installs it")

COMMAND = "import sys; from acdc_medsam.cli import main; sys.exit(main())"
"""Run the command ``acdc-medsam``."""

REPOSITORY = "jane/acdc-medsam"


@dataclass
class User:
    """Somebody who pushes datasets to the stand-in."""

    hub: Hub
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: object, said: str = "", before: str = "") -> tuple[int, str]:
        """Run the command, and return its exit status and output.

        Args:
            arguments: Arguments of the command.
            said: What the user types.
            before: Python code to run before.
        """
        process = subprocess.run(
            [sys.executable, "-c", before + COMMAND, "push", *map(str, arguments)],
            env=self.environment,
            input=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert TOKEN not in process.stdout and "Traceback" not in process.stdout, process.stdout
        return process.returncode, process.stdout

    def push(self, dataset: Path, *options: str, before: str = "") -> str:
        """Push a dataset without being asked, and return the output."""
        status, output = self.run(REPOSITORY, "--dataset", dataset, "--yes", *options, before=before)
        assert status == 0, output
        return output

    def fail(self, dataset: Path, *options: str, before: str = "") -> str:
        """Try in vain to push a dataset, and return the error message."""
        status, output = self.run(REPOSITORY, "--dataset", dataset, "--yes", *options, before=before)
        assert status == 1 and output.count("Error: ") == 1, output
        return output.partition("Error: ")[2]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A user with a login to an empty stand-in."""
    with running_hub() as hub:
        own = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        # The stand-in takes files by the protocol of Git LFS, and not by that of the hub's own storage, Xet.
        yield User(hub, {**kept, **own, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"})


@pytest.fixture(scope="module")
def dataset_once(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published dataset without embeddings; never written to."""
    small = SmallDataset(shutil.copytree(made, tmp_path_factory.mktemp("pushed") / "set"))
    small.publish(embeddings=False)
    small.write_documents(embeddings=False)
    return small.data


@pytest.fixture
def dataset(dataset_once: Path, tmp_path: Path) -> Path:
    """A copy of a published dataset, for a test to change."""
    return Path(shutil.copytree(dataset_once, tmp_path / "copy"))


def contents(folder: Path) -> dict[str, bytes]:
    """Name and content of each file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pushed(hub: Hub) -> dict[str, bytes]:
    """Name and content of each file in the repository, without the one that the hub puts there."""
    files = dict(hub.repositories[REPOSITORY].files)
    del files[".gitattributes"]
    return files


def test_every_file_is_uploaded_to_a_private_repository(user: User, described_once: Path) -> None:
    data = described_once / "data/ACDC"
    output = user.push(data)
    assert pushed(user.hub) == contents(data)
    assert user.hub.repositories[REPOSITORY].private
    files = len(provenance_of(data)["files"]) + 1
    size = sum(map(len, contents(data).values())) / 2**20
    assert f"{data}: {files} files, {size:.1f} MiB, all as provenance.json says\n" in output
    assert f"to {user.hub.address}/datasets/{REPOSITORY} (new, private)\n" in output
    assert output.endswith(f"{files} files are at {user.hub.address}/datasets/{REPOSITORY}\n")


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_nothing_is_uploaded_without_consent(user: User, dataset_once: Path, answer: str) -> None:
    status, output = user.run(REPOSITORY, "--dataset", dataset_once, said=answer)
    assert status == 1 and user.hub.repositories == {}
    for said in ("CC BY-NC-SA 4.0", "non-commercial", "attribution", "share alike", "Bernard", "MedSAM", "Upload it?"):
        assert said in output


def test_consent_uploads(user: User, dataset_once: Path) -> None:
    status, output = user.run(REPOSITORY, "--dataset", dataset_once, "--public", said="y\n")
    assert status == 0 and "(new, public: everyone can see and download it)" in output
    assert pushed(user.hub) == contents(dataset_once)
    assert not user.hub.repositories[REPOSITORY].private


@pytest.mark.parametrize(("private", "option"), [(True, "--public"), (False, "--private")])
def test_an_existing_repository_is_as_visible_as_asked_for(
    user: User, dataset_once: Path, private: bool, option: str
) -> None:
    user.hub.repositories[REPOSITORY] = StoredRepository(private)
    was = "private" if private else "public"
    assert f"{REPOSITORY} exists and is {was}: give the option --{was}, or" in user.fail(dataset_once, option)
    assert user.hub.repositories[REPOSITORY].files == {}


def delete(dataset: Path) -> str:
    """Delete an image, and return its name."""
    path = next(dataset.glob("train/images/*"))
    path.unlink()
    return f"{path.relative_to(dataset)}: is missing"


def damage(dataset: Path) -> str:
    flip_bit(dataset / "val/metadata.csv", 150)
    return "val/metadata.csv: has other content than provenance.json says"


def stray(dataset: Path) -> str:
    (dataset / "train/.env").write_text("PASSWORD=secret")
    return "train/.env: does not belong here"


def link_outside(dataset: Path) -> str:
    path = next(dataset.glob("train/masks/*"))
    path.rename(dataset.parent / "mask.png")
    path.symlink_to(dataset.parent / "mask.png")
    return f"{path.relative_to(dataset)}: is, or lies behind, a symbolic link that leads out of the dataset"


def no_provenance(dataset: Path) -> str:
    (dataset / "provenance.json").unlink()
    return "provenance.json: is missing"


@pytest.mark.parametrize("harm", [delete, damage, stray, link_outside, no_provenance], ids=lambda harm: harm.__name__)
def test_a_dataset_that_is_not_as_recorded_is_refused(user: User, dataset: Path, harm: Callable[[Path], str]) -> None:
    reason = harm(dataset)
    message = user.fail(dataset)
    assert message.startswith(f"{dataset} is not as its provenance.json says, so nothing was uploaded:\n{reason}\n")
    assert "`snakemake repair` makes it whole" in message
    assert user.hub.requests == []


def test_of_many_differences_only_some_are_named(user: User, dataset: Path) -> None:
    shutil.rmtree(dataset / "train/images")
    missing = len([name for name in provenance_of(dataset)["files"] if name.startswith("train/images/")])
    (dataset / "train/images").mkdir()
    for number in range(30):
        (dataset / f"stray{number}").touch()
    message = user.fail(dataset)
    assert message.count("does not belong here") + message.count("is missing") == 20
    assert f"and {missing + 10} more\n" in message


def test_a_dataset_of_symbolic_links_is_uploaded_by_content(user: User, made: Path, tmp_path: Path) -> None:
    small = SmallDataset(shutil.copytree(made, tmp_path / "set"))
    small.publish(link="symlink", embeddings=False)
    small.write_documents(embeddings=False)
    assert next(small.data.glob("train/images/*")).is_symlink()
    user.push(small.data)
    assert pushed(user.hub) == contents(small.data)


def test_the_same_dataset_is_not_uploaded_twice(user: User, dataset_once: Path) -> None:
    user.push(dataset_once)
    uploads = user.hub.uploads()
    commits = list(user.hub.repositories[REPOSITORY].commits)
    assert uploads and len(commits) == 2
    output = user.push(dataset_once)
    assert f"{uploads} of the files are there already" in output and "(exists, private)" in output
    assert user.hub.uploads() == uploads and user.hub.repositories[REPOSITORY].commits == commits


def test_another_split_replaces_the_files_of_the_first(user: User, made: Path, tmp_path: Path) -> None:
    small = SmallDataset(shutil.copytree(made, tmp_path / "set"))
    names = list[set[str]]()
    for seed, unit in ((2026, "patient"), (7, "slice")):
        small.publish(seed=seed, unit=unit, embeddings=False)
        small.write_documents(unit=unit, embeddings=False)
        output = user.push(small.data)
        names.append(set(contents(small.data)))
        assert set(pushed(user.hub)) - {"notes.md"} == names[-1]
        # Somebody else's file, which a push leaves alone.
        user.hub.repositories[REPOSITORY].files["notes.md"] = b"mine"
    assert f"{len(names[0] - names[1])} files there belong to an earlier upload and will be removed" in output
    assert pushed(user.hub) == {**contents(small.data), "notes.md": b"mine"}


IN_FOURS = "import acdc_medsam.hub.push\nacdc_medsam.hub.push.FILES_PER_COMMIT = 4\n"


def test_an_upload_that_broke_off_goes_on(user: User, dataset_once: Path) -> None:
    commits = list[str]()

    def refuse_the_third_commit(request: str) -> tuple[int, dict[str, str]] | None:
        commits.extend([request] if "/commit/" in request else [])
        return (503, {"error": "overloaded"}) if len(commits) == 3 else None

    user.hub.refuse = refuse_the_third_commit
    message = user.fail(dataset_once, before=IN_FOURS)
    assert message.startswith("the hub answered with status 503 (overloaded): wait a while, and run the same command")
    there = pushed(user.hub)
    assert len(there) == 8 and not [name for name in there if not name.endswith(".png")]
    # Image and mask of a slice are in one commit.
    assert len({Path(name).stem for name in there}) == 4

    uploads = user.hub.uploads()
    assert uploads == 12
    user.hub.refuse = lambda request: None
    assert "8 of the files are there already" in user.push(dataset_once, before=IN_FOURS)
    assert pushed(user.hub) == contents(dataset_once)
    images = [name for name in contents(dataset_once) if name.endswith(".png")]
    assert user.hub.uploads() == len(images), "the files of the refused commit are not sent a second time"


def answering(status: int, part: str) -> Callable[[str], tuple[int, dict[str, str]] | None]:
    """Refuse the requests that contain a text, with a reason that repeats the token."""
    return lambda request: (status, {"error": f"no: {TOKEN}"}) if part in request else None


@pytest.mark.parametrize(
    ("status", "part", "said"),
    [
        (401, "whoami", "the hub does not accept the token of this login: run `hf auth login`, or correct HF_TOKEN"),
        (403, "repos/create", f"the token of this login may not write to {REPOSITORY}: use a token with write access"),
        (403, "preupload", f"the token of this login may not write to {REPOSITORY}"),
        (403, "lfs/objects", f"the token of this login may not write to {REPOSITORY}"),
        (403, "/blobs/", f"the token of this login may not write to {REPOSITORY}"),
        (403, "/commit/", f"the token of this login may not write to {REPOSITORY}"),
        (400, "/commit/", "the hub answered with status 400 (no: ***): wait a while, and run the same command again"),
        (402, "tree/main", "the hub answered with status 402"),
    ],
)
def test_a_refusal_is_explained(user: User, dataset_once: Path, status: int, part: str, said: str) -> None:
    if part == "tree/main":
        user.hub.repositories[REPOSITORY] = StoredRepository(private=True)
    user.hub.refuse = answering(status, part)
    message = user.fail(dataset_once)
    assert message.startswith(said) and len(message.strip().splitlines()) == 1


def test_a_hub_out_of_reach_is_explained(user: User, dataset_once: Path) -> None:
    user.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    message = user.fail(dataset_once)
    assert message.startswith("the hub cannot be reached (") and "run the same command again" in message


def test_a_client_that_is_offline_is_explained(user: User, dataset_once: Path) -> None:
    user.environment["HF_HUB_OFFLINE"] = "1"
    assert user.fail(dataset_once).startswith("the hub's client is offline: unset HF_HUB_OFFLINE")


def test_a_missing_login_is_explained(user: User, dataset_once: Path) -> None:
    del user.environment["HF_TOKEN"]
    assert user.fail(dataset_once).startswith("nobody is logged in to the hub: run `hf auth login`")


def test_a_missing_client_is_explained(user: User, dataset_once: Path) -> None:
    before = "import sys\nsys.modules['huggingface_hub'] = None\n"
    assert user.fail(dataset_once, before=before).startswith(
        "an upload needs huggingface_hub: pip install huggingface-hub"
    )


@pytest.mark.parametrize("name", ["../acdc", "jane/--", "jane/acdc.git"])
def test_a_name_that_the_hub_does_not_allow_is_explained(user: User, dataset_once: Path, name: str) -> None:
    status, output = user.run("--dataset", dataset_once, "--yes", "--", name)
    assert status == 1 and f"Error: '{name}' is not a valid name on the hub: Repo" in output.replace("Cannot", "Repo")
    assert user.hub.repositories == {}


@pytest.mark.parametrize("name", ["acdc", "jane/acdc/more", "jane/\x1b[2J", ""])
def test_a_wrong_name_is_explained(user: User, dataset_once: Path, name: str) -> None:
    status, output = user.run("--dataset", dataset_once, "--yes", "--", name)
    assert status == 1 and f"Error: {name!a} is not a name of a repository on the hub: write it as USER/NAME" in output
    assert not [request for request in user.hub.requests if "whoami" not in request]


REPLACED = """
import acdc_medsam.hub.push as push
plan_push = push.plan_push
def plan_and_replace(root, *arguments):
    plan = plan_push(root, *arguments)
    path = next(root.glob("val/masks/*"))
    path.unlink()
    path.write_bytes(b"other")
    return plan
push.plan_push = plan_and_replace
"""


def test_a_file_that_changes_after_the_check_is_not_uploaded(user: User, dataset: Path) -> None:
    message = user.fail(dataset, before=REPLACED)
    assert re.match(r"\S+/val/masks/\S+ has changed since the dataset was verified; run the same command", message)
    assert b"other" not in pushed(user.hub).values()


PAGE = (Path(__file__).parents[3] / "docs/hub.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_on_the_hub_is_right(user: User, dataset_once: Path, tmp_path: Path) -> None:
    """Run everything on the page in its order, with the stand-in for the hub, but the installation and the login."""
    pytest.importorskip("datasets", reason="the library datasets is not installed; `make test` installs it")
    from_folder, from_hub = PYTHON
    install, push, download = SHELL
    assert install.endswith("hf auth login\n") and PAGE.count("```") == 10

    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "acdc-medsam").write_text(f"#!{sys.executable}\n{COMMAND}\n")
    (tools / "acdc-medsam").chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ACDC").symlink_to(dataset_once)

    def run(*command: str, said: str = "", **environment: str) -> str:
        process = subprocess.run(
            command,
            cwd=tmp_path,
            env={**user.environment, "PATH": path, **environment},
            input=said,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    counts = [len(list((dataset_once / split / "images").iterdir())) for split in ("train", "val", "test")]
    said = run(sys.executable, "-c", from_folder, HF_HUB_OFFLINE="1")
    assert re.findall(r"num_rows: (\d+)", said) == [str(count) for count in counts]
    assert re.search(r"^patient\d+_frame\d+_slice_\d+ \(64, 64\) \(64, 64\)$", said, re.MULTILINE)

    assert run("bash", "-c", push, said="y\n").endswith(f"files are at {user.hub.address}/datasets/{REPOSITORY}\n")
    said = run(sys.executable, "-c", f"{from_hub}\nprint(dict(dataset.num_rows))")
    assert said == f"{dict(zip(('train', 'validation', 'test'), counts, strict=True))}\n"
    assert "match provenance.json" in run("bash", "-ec", download)
