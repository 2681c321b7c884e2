"""Errors that users see. Each message names the patient or the file and says what to do."""

import errno

_MAKE_SPACE = "make space on its disk or in its quota, and run the same command again"
REMEDIES = {
    errno.ENOSPC: _MAKE_SPACE,
    errno.EDQUOT: _MAKE_SPACE,
    errno.EROFS: "choose an output folder that can be written to",
    errno.EACCES: "let this user read it, or write to it if it is output, and run the same command again",
    errno.ENOENT: "it was removed during the run; restore it, or run the same command again to continue without it",
}
"""Error number of the operating system -> what the user can do about it."""


class AcdcError(Exception):
    """Any problem with input, configuration or dataset that the user can solve; shown without a traceback."""


class ConfigError(AcdcError):
    """A configuration key is unknown, of the wrong type or out of range."""


class CohortError(AcdcError):
    """The raw folder does not have ACDC's layout."""


class VolumeError(AcdcError):
    """A NIfTI image or label is unusable."""


class CheckpointError(AcdcError):
    """Encoder weights are missing, are not the expected ones, or do not fit the architecture."""


class DatasetError(AcdcError):
    """A file from an earlier stage is missing, damaged, or inconsistent with other files of the dataset."""


class HubError(AcdcError):
    """The Hugging Face hub refuses an upload or cannot be reached."""


def describe_os_error(error: OSError) -> str:
    """Say which file an operating system error concerns, what is wrong, and what can be done."""
    remedy = REMEDIES.get(error.errno or 0, "correct that, and run the same command again")
    return f"{error.filename or 'input or output'}: {error.strerror or error}; {remedy}"
