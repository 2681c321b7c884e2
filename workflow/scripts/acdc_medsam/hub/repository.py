"""A dataset repository of the Hugging Face hub, through the hub's own client, whose errors become messages for users.

The client ``huggingface_hub`` is imported when it is used, because only this command needs it. It finds the token of
the user's login by itself; the token is never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from acdc_medsam.errors import AcdcError, DatasetError, HubError
from acdc_medsam.runtime.requirements import require_libraries

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

KIND = "dataset"
"""Kind of the repository, among those that the hub has."""


class Repository:
    """A dataset repository of the hub, which may not exist yet."""

    def __init__(self, name: str) -> None:
        """Check the name and the login.

        Args:
            name: Name of the repository, ``USER/NAME`` or ``ORGANIZATION/NAME``.

        Raises:
            ConfigError: The client is not installed.
            HubError: The name is not one of a repository, or nobody is logged in.
        """
        self.name = name
        self._api = _import_client()
        with hub_errors(name):
            self._api.whoami()

    @property
    def url(self) -> str:
        """Address of the repository's page."""
        return f"{self._api.endpoint}/datasets/{self.name}"

    def is_private(self) -> bool | None:
        """Ask whether the repository is private; None if it does not exist, or is a private one of somebody else."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        with hub_errors(self.name):
            try:
                return bool(self._api.repo_info(self.name, repo_type=KIND).private)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None

    def list_files(self) -> dict[str, str | None]:
        """List the files of the repository: name -> hex sha256, which the hub knows of binary files only."""
        from huggingface_hub.hf_api import RepoFile

        with hub_errors(self.name):
            entries = list(self._api.list_repo_tree(self.name, recursive=True, repo_type=KIND))
        files = [entry for entry in entries if isinstance(entry, RepoFile)]
        return {file.path: file.lfs.sha256 if file.lfs else None for file in files}

    def create(self, private: bool) -> None:
        """Create the repository."""
        with hub_errors(self.name):
            self._api.create_repo(self.name, repo_type=KIND, private=private)

    def commit(self, files: Mapping[str, tuple[Path, str]], removed: Sequence[str], message: str) -> None:
        """Upload and remove files in one commit. Files that the hub has already are not uploaded again.

        Args:
            files: Name in the repository -> path of the file to upload, and the hex sha256 that it must have.
            removed: Names of the files to remove.
            message: First line of the commit's message.

        Raises:
            DatasetError: A file has other content than it should have.
            HubError: The hub refuses the upload or cannot be reached.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationDelete(name) for name in removed]
        for name, (path, sha256) in files.items():
            addition = CommitOperationAdd(name, path)
            # The client uploads the content that it has hashed here, so nothing else than what was verified.
            if addition.upload_info.sha256.hex() != sha256:
                raise DatasetError(
                    f"{path} has changed since the dataset was verified; run the same command again when nothing "
                    "else is writing to the dataset"
                )
            operations.append(addition)

        with hub_errors(self.name):
            self._api.create_commit(self.name, operations, commit_message=message, repo_type=KIND)


def _import_client() -> HfApi:
    """Return the hub's client, without the progress bars that it would show for each commit.

    Raises:
        ConfigError: The client is not installed.
    """
    require_libraries("an upload", "huggingface_hub")
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    return HfApi()


@contextmanager
def hub_errors(repository: str) -> Iterator[None]:
    """Turn every error of the hub's client into a message that says what to do.

    Args:
        repository: Name of the repository.

    Raises:
        HubError: The hub refused a request or could not be reached.
        OSError: A local file could not be read.
    """
    try:
        yield
    except AcdcError:
        raise
    # The client has no common base class for its errors, and passes on those of the libraries that it uses.
    except Exception as error:
        _raise_explained(error, repository)
        raise


def _raise_explained(error: Exception, repository: str) -> None:
    """Raise an error that says what went wrong and what to do; return if the error is about a local file.

    Raises:
        HubError: The hub refused a request, could not be reached, or was not asked.
    """
    from huggingface_hub import errors

    for cause in _causes(error):
        if isinstance(cause, errors.LocalTokenNotFoundError):
            raise HubError("nobody is logged in to the hub: run `hf auth login`, or set HF_TOKEN to a token") from error
        if isinstance(cause, errors.HFValidationError):
            raise HubError(f"{repository!a} is not a valid name on the hub: {_without_token(cause)}") from error
        if isinstance(cause, errors.OfflineModeIsEnabled):
            raise HubError(
                "the hub's client is offline: unset HF_HUB_OFFLINE, and run the same command again"
            ) from error
        if isinstance(cause, errors.HfHubHTTPError):
            _raise_explained_answer(cause, repository)
        # httpx is another package in version 1 of the client than in version 2, which both import its error here.
        if isinstance(cause, (errors.HTTPError, ConnectionError, TimeoutError)):  # type: ignore[attr-defined]
            raise HubError(
                f"the hub cannot be reached ({_without_token(cause)}): look at your connection, and run the same "
                "command again; it goes on with the files that are missing there"
            ) from error

    if not isinstance(error, OSError):
        raise HubError(
            f"the upload failed ({type(error).__name__}: {_without_token(error)}): run the same command again; it "
            "goes on with the files that are missing on the hub"
        ) from error


def _raise_explained_answer(error: HfHubHTTPError, repository: str) -> NoReturn:
    """Raise an error that says what an HTTP status of the hub means, and what to do.

    Raises:
        HubError: In any case.
    """
    status = error.response.status_code
    if status == 401:
        raise HubError(
            "the hub does not accept the token of this login: run `hf auth login`, or correct HF_TOKEN"
        ) from error
    if status == 403:
        raise HubError(
            f"the token of this login may not write to {repository}: use a token with write access, or the name of a "
            "user or an organization that is yours"
        ) from error
    raise HubError(
        f"the hub answered with status {status} ({_without_token(error.server_message)}): wait a while, and run the "
        "same command again; it goes on with the files that are still missing"
    ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and the ones that led to it: uploads run in threads, whose errors are wrapped in others."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _without_token(reason: object) -> str:
    """Return the first line of a reason, in which the token of the login is blotted out."""
    from huggingface_hub import get_token

    first = str(reason or "no reason given").strip().partition("\n")[0]
    token = get_token()
    return first.replace(token, "***") if token else first
