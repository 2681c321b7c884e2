"""The errors that users meet. Each message names the patient or the file and says what to do."""

import errno

_SPACE = "make space on its disk or in its quota, and run the same command again"
REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EROFS: "the output folder must be one that can be written to",
    errno.EACCES: "let this user read it, or write to it if it is output, and run the same command again",
    errno.ENOENT: "it went away during the run; put it back, or run the same command again to go on without it",
}
"""What a user can do about an error of the operating system."""


class AcdcError(Exception):
    """Anything wrong with input, configuration or dataset that the user can mend; shown without a traceback."""


class ConfigError(AcdcError):
    """A configuration key is unknown, of the wrong type or out of range."""


class CohortError(AcdcError):
    """The raw folder does not hold what ACDC's layout promises."""


class VolumeError(AcdcError):
    """A NIfTI image or label cannot be used as it is."""


class CheckpointError(AcdcError):
    """Encoder weights are missing, are not the expected ones, or do not fit the architecture."""


class DatasetError(AcdcError):
    """A file that an earlier stage made is missing or does not belong to what stands beside it."""


def describe_os_error(error: OSError) -> str:
    """Say which file an error of the operating system is about, what is wrong, and what can be done."""
    remedy = REMEDIES.get(error.errno or 0, "mend that, and run the same command again")
    return f"{error.filename or 'input or output'}: {error.strerror or error}; {remedy}"
