"""The errors that users meet. Each message names the patient or the file and says what to do."""


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
