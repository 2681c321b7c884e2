"""Every layout that the dataset can be exported to. A new one is a module of this folder and an entry here."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.acdc.naming import NNUNET_FOLDER
from acdc_medsam.errors import ConfigError
from acdc_medsam.exports.automedsam import export_automedsam
from acdc_medsam.exports.lists import export_lists
from acdc_medsam.exports.medsam import export_medsam
from acdc_medsam.exports.medsam2 import export_medsam2
from acdc_medsam.exports.nnunet import export_nnunet
from acdc_medsam.exports.sam_med2d import export_sam_med2d
from acdc_medsam.exports.structures import export_structures
from acdc_medsam.exports.webdataset import export_webdataset
from acdc_medsam.exports.zarr import export_zarr, require_zarr
from acdc_medsam.runtime.code_hash import code_hash


@dataclass(frozen=True)
class Layout:
    """How the dataset is exported to one layout.

    Attributes:
        export: Function that takes the published dataset, the folder of the export, its index, and the options.
        folder: Folder of the export, below ``data/exports``.
        message: What the run says when the job starts.
        options: Names of the options that ``export`` takes: keys of the layout in the group ``exports`` of the
            configuration, or others that rule ``export`` knows.
        embeddings: Whether there is nothing to export without embeddings.
        require: Function that raises an error if a library is missing that ``export`` uses and the workflow does not.
    """

    export: Callable[..., None]
    folder: str
    message: str
    options: tuple[str, ...]
    embeddings: bool = False
    require: Callable[[], None] | None = None

    @property
    def code(self) -> str:
        """Hash of the modules that ``export`` uses: an edited module re-runs the exports that use it, and no others."""
        return code_hash(Path(inspect.getfile(self.export)))


LAYOUTS = {
    "nnunet": Layout(export_nnunet, f"nnunet/{NNUNET_FOLDER}", "export for nnU-Net", ("volumes",)),
    "webdataset": Layout(export_webdataset, "webdataset", "export shards for webdataset", ("seed",)),
    "lists": Layout(export_lists, "lists", "export lists for SSL4MIS", ("link", "seed")),
    "structures": Layout(export_structures, "structures", "export a dataset per structure", ("link",)),
    "automedsam": Layout(export_automedsam, "automedsam", "export for AutoMedSAM", ("link",), embeddings=True),
    "medsam": Layout(export_medsam, "medsam", "export arrays for MedSAM", ("dtype",)),
    "medsam2": Layout(export_medsam2, "medsam2", "export volumes for MedSAM2", ("cines", "percentile")),
    "sam_med2d": Layout(export_sam_med2d, "sam_med2d", "export masks for SAM-Med2D", ("link",)),
    "zarr": Layout(
        export_zarr, "zarr", "export embeddings for Zarr", ("dtype",), embeddings=True, require=require_zarr
    ),
}
"""Layout by name; the name is the target on the command line."""


def require_exportable(name: str, encoder: str, by_own_libraries: bool) -> None:
    """Refuse an export that cannot be made, before any job runs.

    Args:
        name: Name of the layout.
        encoder: Name of the encoder, or ``none``.
        by_own_libraries: Whether jobs use the libraries of this process, and have no environment of their own.

    Raises:
        ConfigError: The layout consists of embeddings and there are none, or a library is missing.
    """
    layout = LAYOUTS[name]
    if layout.embeddings and encoder == "none":
        raise ConfigError(
            f"the export {name} needs embeddings: set encoder.name in config.yaml to something else than none"
        )
    if layout.require is not None and by_own_libraries:
        layout.require()
