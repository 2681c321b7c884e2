"""What follows from unusable scans: the run ends with a list of them, or goes on without them."""

from pathlib import Path

from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.index import read_index_comments, write_index


def accept_predictions(report: Path, accepted: Path, on_invalid: str) -> None:
    """Write down that all scans could be segmented.

    Args:
        report: Index of the report, see :func:`acdc_medsam.predict.report.report_scans`.
        accepted: Declared output, an index without files.
        on_invalid: ``stop`` raises an error for unusable scans; ``exclude`` writes them down.

    Raises:
        VolumeError: A scan could not be segmented, and ``on_invalid`` is ``stop``.
    """
    failed = read_index_comments(report).notes
    if failed and on_invalid == "stop":
        raise VolumeError(
            "these scans could not be segmented. Mend or remove them, or set 'on_invalid: exclude' in config.yaml:\n"
            + "\n".join(failed)
        )
    write_index(accepted, [], notes=failed)
