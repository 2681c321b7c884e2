"""Export medsam: images and masks as NumPy files, as the training scripts of bowang-lab/MedSAM read them.

``NpyDataset`` (train_one_gpu.py, train_multi_gpus.py) takes a folder with ``imgs`` and ``gts``. It reads each pair of
files of one name, asserts that the image lies in [0, 1], and trains on a random structure of the mask with its box. A
mask without structures ends the training, so slices without any are left out.
"""

import io
import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.exports.folder import Published, close_export, shows_structure
from acdc_medsam.exports.size import announce_size
from acdc_medsam.formats.files import Row, Written, read_table, write_bytes
from acdc_medsam.formats.png import Gray
from acdc_medsam.runtime.progress import Progress
from acdc_medsam.stages.render import resize_label

logger = logging.getLogger(__name__)

ENCODER = ENCODERS["medsam_vit_b"]
"""The encoder that MedSAM's training fine-tunes, whatever encoder made the embeddings of the dataset."""

HEADER_BYTES = 128
"""Size of what comes before the values in a NumPy file of this kind."""


def export_medsam(published: Published, folder: Path, index: Path, dtype: str) -> None:
    """Write ``npy/ACDC/<split>/{imgs,gts}/<slice>.npy``.

    An image is (1024, 1024, 3) in [0, 1], the input of MedSAM's encoder; a mask is (1024, 1024) uint8, 0..3. Images and
    masks of another size are resized.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        dtype: Type of the images' values, ``float16`` or ``float32``. As float16, a value is off by 2.5e-4 at most,
            a sixteenth of the step between gray values.

    Raises:
        AcdcError: There is too little space on the disk.
    """
    root = folder / "npy" / published.manifest.parent.name
    slices: list[tuple[Row, Path, Path]] = []
    for row in filter(shows_structure, read_table(published.manifest)):
        name = f"{row['slice']}.npy"
        slices.append((row, root / row["split"] / "imgs" / name, root / row["split"] / "gts" / name))

    pixels = ENCODER.input_size**2
    image_bytes = HEADER_BYTES + 3 * pixels * np.dtype(dtype).itemsize
    sizes = {image: image_bytes for _, image, _ in slices} | {mask: HEADER_BYTES + pixels for _, _, mask in slices}
    announce_size(folder, index, sizes)

    files: list[Written] = []
    with closing(Progress(len(slices), unit="slice")) as progress:
        for row, image, mask in slices:
            label = resize_label(published.mask(row).read(), ENCODER.input_size)
            # A structure of few pixels is lost where the masks are smaller than the raw slices.
            if label.any():
                files.append(_write_array(image, _as_input(published.image(row).read()).astype(dtype)))
                files.append(_write_array(mask, label))
            progress.advance()

    close_export(folder, index, files)
    logger.info("%d of %d slices with structures", len(files) // 2, len(slices))


def _as_input(gray: Gray) -> npt.NDArray[np.float32]:
    """Convert an image (H, W) to the input of MedSAM's encoder, (1024, 1024, 3) in [0, 1]."""
    # Imported here, because every run imports this module to know its export, and torch takes 2 s.
    import torch

    from acdc_medsam.encoders.model import prepare_images

    channels = prepare_images(torch.from_numpy(gray).unsqueeze(0), ENCODER)[0]
    return np.asarray(channels.permute(1, 2, 0))


def _write_array(path: Path, array: npt.NDArray[np.generic]) -> Written:
    """Write a NumPy file atomically, and return its record."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array))
    return write_bytes(path, buffer.getbuffer(), read_only=True)
