"""Look into folders of raw data, which may be missing or closed."""

from pathlib import Path

from acdc_medsam.errors import CohortError


def list_folder(folder: Path) -> list[Path]:
    """Return the paths in a folder, sorted; an empty list if the folder is missing.

    Raises:
        CohortError: The folder cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CohortError(f"{folder} cannot be read ({error.strerror}); correct its permissions") from error
