"""Checks on the content of published files: the image, mask and embedding of each slice, and the H5 volumes."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import h5_folder
from acdc_medsam.encoders.store import embedding_digest
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.archive import may_be_zip_bomb
from acdc_medsam.formats.files import REPAIR, Row, sha256_file
from acdc_medsam.formats.h5 import read_h5
from acdc_medsam.formats.png import Gray, read_gray
from acdc_medsam.formats.tensor_values import read_plain
from acdc_medsam.formats.tensors import load_saved
from acdc_medsam.layout import EMBEDDING_SHAPE, ENCODING_SHAPE, image_folder
from acdc_medsam.stages.render import pixels_sha256, resize_label
from acdc_medsam.verify.checks import (
    EMBEDDING_FINITE,
    EMBEDDING_OWNER,
    EMBEDDING_SHAPED,
    H5_AGREES,
    MASK_VALUES,
    NOT_EMPTY,
    READABLE,
    RECORDED,
    SAME_SHAPE,
    UINT8,
    Expectations,
    Finding,
    size_check,
)

MAX_TENSOR_BYTES = 16 * 2**20
"""Largest .pt file that is read. An embedding or a positional encoding takes 4 MiB."""

Records = Mapping[Path, str]
"""Published file -> hex sha256 that was taken when the file was made."""


def check_record(path: Path, records: Records, sha256: str | None = None) -> Finding:
    """Compare a published file with its record.

    Args:
        path: The file.
        records: The records of all published files.
        sha256: Hex sha256 of the content, if the file has been read already.

    Returns:
        The finding on the file.
    """
    item = "/".join(path.parts[-3:])
    if path not in records:
        return RECORDED, item, "is not among the published files"
    try:
        found = sha256 or sha256_file(path)
    except OSError as error:
        return RECORDED, item, f"cannot be read: {error.strerror or error}"
    return RECORDED, item, None if found == records[path] else f"has other content than was made; {REPAIR}"


def slice_files(root: Path, row: Row) -> list[Path]:
    """List all files that :func:`check_slice` reads: image, mask and, if there is one, embedding."""
    files = [root / row["split"] / kind / f"{row['slice']}.png" for kind in ("images", "masks")]
    if row["embedding"]:
        files.append(root / row["embedding"])
    return files


def check_slice(root: Path, row: Row, expected: Expectations, records: Records) -> list[Finding]:
    """Check the image, the mask and the embedding of one slice.

    Args:
        root: The folder ``data/ACDC``.
        row: The row of the slice in the manifest.
        expected: What the configuration asks for.
        records: The records of all published files.

    Returns:
        The findings on the slice.
    """
    name = row["slice"]
    image, findings = _check_image(root, row, expected)
    if expected.embeddings:
        findings += _check_embedding(root / row["embedding"], row, image, records)

    image_path, mask_path = slice_files(root, row)[:2]
    findings += [check_record(path, records) for path in (image_path, mask_path)]
    try:
        mask = read_gray(mask_path)
    except DatasetError as error:
        return [*findings, (READABLE, f"masks/{name}.png", str(error))]

    values = set(np.unique(mask).tolist())
    unknown = values - {0, *LABELS.values()}
    # An image that cannot be read has failed its own check already.
    same = image is None or mask.shape == image.shape
    findings += [
        (READABLE, f"masks/{name}.png", None),
        (SAME_SHAPE, name, None if same else f"mask {mask.shape} beside its image"),
        (MASK_VALUES, name, f"has {sorted(unknown)}" if unknown else None),
    ]
    if not expected.keep_empty:
        findings.append((NOT_EMPTY, name, None if values - {0} else "no structure in it"))
    return findings


def _check_image(root: Path, row: Row, expected: Expectations) -> tuple[Gray | None, list[Finding]]:
    """Return the image (H, W), or None if it cannot be read, and the findings on it."""
    name = row["slice"]
    size = expected.size
    try:
        image = read_gray(root / row["split"] / "images" / f"{name}.png")
    except DatasetError as error:
        return None, [
            (READABLE, f"images/{name}.png", str(error)),
            (UINT8, name, "not readable as 8-bit grayscale"),
        ]

    shape = " x ".join(map(str, image.shape))
    return image, [
        (READABLE, f"images/{name}.png", None),
        (UINT8, name, None if image.dtype == np.uint8 else f"is {image.dtype}"),
        (size_check(size), name, None if image.shape == (size, size) else f"is {shape}"),
    ]


@dataclass(frozen=True)
class SavedTensor:
    """What a file of ``torch.save`` holds.

    Attributes:
        shape: Shape of the tensor.
        dtype: Type of its values as torch names it, such as ``torch.float32``.
        sound: Whether its values are float32, and none of them is NaN or infinite.
        sha256: Hex sha256 of the file.
    """

    shape: tuple[int, ...]
    dtype: str
    sound: bool
    sha256: str


def read_tensor(path: Path) -> SavedTensor:
    """Read a file that holds one tensor.

    An embedding as ``torch.save`` lays it out is read without torch, which takes two seconds to import; any other
    file is left to torch.

    Raises:
        DatasetError: The file is missing, is too large, or holds anything other than a tensor.
    """
    try:
        size = path.stat().st_size
        # Checked before reading, because a file that was put in place of the embedding can have any size.
        if size > MAX_TENSOR_BYTES:
            raise DatasetError(f"{size} bytes, more than a tensor of the dataset takes")
        if may_be_zip_bomb(path):
            raise DatasetError("claims more than a file of its size holds")
        return _parse_tensor(path.read_bytes())
    except FileNotFoundError as error:
        raise DatasetError("missing") from error
    except DatasetError:
        raise
    except Exception as error:  # a damaged file raises errors of many types, see load_saved
        raise DatasetError(f"not readable with weights_only=True ({type(error).__name__})") from error


def _parse_tensor(data: bytes) -> SavedTensor:
    """Read the content of a file that holds one tensor; see :func:`read_tensor`."""
    sha256 = hashlib.sha256(data).hexdigest()
    for shape in (EMBEDDING_SHAPE, ENCODING_SHAPE):
        values = read_plain(data, shape)
        if values is not None:
            return SavedTensor(shape, "torch.float32", bool(np.isfinite(values).all()), sha256)

    import torch

    tensor = load_saved(io.BytesIO(data))
    if not isinstance(tensor, torch.Tensor):
        raise DatasetError(f"holds a {type(tensor).__name__}, not a tensor")
    # A sparse or expanded tensor can claim a shape that is far larger than its file.
    if tensor.layout != torch.strided or tensor.numel() * tensor.element_size() > MAX_TENSOR_BYTES:
        raise DatasetError(f"holds a tensor {list(tensor.shape)} that is larger than its file")
    sound = tensor.dtype == torch.float32 and bool(torch.isfinite(tensor).all())
    return SavedTensor(tuple(tensor.shape), str(tensor.dtype), sound, sha256)


def _check_embedding(path: Path, row: Row, image: Gray | None, records: Records) -> list[Finding]:
    name = row["slice"]
    try:
        tensor = read_tensor(path)
    except DatasetError as error:
        checks = (EMBEDDING_SHAPED, EMBEDDING_FINITE, EMBEDDING_OWNER)
        return [check_record(path, records), *((check, name, str(error)) for check in checks)]

    return [
        check_record(path, records, tensor.sha256),
        (EMBEDDING_SHAPED, name, None if tensor.shape == EMBEDDING_SHAPE else f"is {list(tensor.shape)}"),
        (EMBEDDING_FINITE, name, None if tensor.sound else f"{tensor.dtype}, or with NaN or infinite values"),
        (EMBEDDING_OWNER, name, _check_owner(tensor.sha256, row, image)),
    ]


def _check_owner(sha256: str, row: Row, image: Gray | None) -> str | None:
    """Say why an embedding is not that of the image beside it, or return None if it is.

    Args:
        sha256: Hex sha256 of the embedding's file.
        row: The row of the slice in the manifest.
        image: The published image (H, W), or None if it cannot be read.
    """
    if image is None:
        return "its image cannot be read"
    if embedding_digest(row["encoder"], pixels_sha256(image)) != row["embedding_digest"]:
        return "was made from another picture or by another encoder"
    return None if sha256 == row["embedding_sha256"] else "its bytes are not those that were made"


def volume_files(output: Path, volume: Path, rows: Mapping[str, Row]) -> list[Path]:
    """List all files that :func:`check_volume` reads, in a fixed order: the volume, its H5 slices and their masks."""
    slices = sorted(_slice_folder(volume).glob(f"{volume.stem}_slice_*.h5"))
    kept = [rows[path.stem] for path in slices if path.stem in rows]
    masks = [output / image_folder(row["split"], "masks") / f"{row['slice']}.png" for row in kept]
    return [volume, *slices, *masks]


def _slice_folder(volume: Path) -> Path:
    return volume.parent.with_name(volume.parent.name.replace("_volumes", "_slices"))


def check_volume(
    output: Path, volume: Path, rows: Mapping[str, Row], expected: Expectations, records: Records
) -> list[Finding]:
    """Compare an H5 volume with its H5 slices and its PNG masks, and compare each H5 file with its record.

    Args:
        output: Root of the published layout.
        volume: An H5 volume below ``output``.
        rows: Slice -> row of the manifest.
        expected: What the configuration asks for.
        records: The records of all published files.

    Returns:
        The findings on the volume and its slices.
    """
    name = volume.stem
    files = volume_files(output, volume, rows)
    # The masks among the files are compared with their records by check_slice.
    findings = [check_record(path, records) for path in files if path.suffix == ".h5"]

    reasons: list[str | None]
    try:
        reasons = list(_compare_volume(output, volume, rows, expected))
    except DatasetError as error:
        reasons = [f"cannot be compared: {error}"]
    # A volume without contradictions counts as one item that passed.
    return findings + [(H5_AGREES, name, reason) for reason in reasons or [None]]


def _compare_volume(output: Path, volume: Path, rows: Mapping[str, Row], expected: Expectations) -> Iterator[str]:
    """Yield each contradiction between an H5 volume, its H5 slices, the manifest and the PNG masks."""
    folder = _slice_folder(volume)
    in_split = expected.split.has_testing or volume.parent.name != h5_folder("testing", "volumes").name
    whole = read_h5(volume, 3)
    found = {path.stem for path in folder.glob(f"{volume.stem}_slice_*.h5")}
    names = [f"{volume.stem}_slice_{index}" for index in range(len(whole.label))]
    if found != set(names):
        # Comparing the slices one by one would only repeat this finding.
        yield f"{len(found)} H5 slices for {len(names)} planes"
        return

    for name, image, label in zip(names, whole.image, whole.label, strict=True):
        h5_slice = read_h5(folder / f"{name}.h5", 2)
        if not (np.array_equal(h5_slice.image, image) and np.array_equal(h5_slice.label, label)):
            yield f"H5 slice {name} differs from its plane of the volume"

        wanted = in_split and (expected.keep_empty or bool(label.any()))
        if wanted != (name in rows):
            reason = "empty" if in_split else "of a patient in no split"
            yield f"{name} is {'missing from' if wanted else f'{reason}, yet in'} the manifest"
        elif wanted:
            mask = read_gray(output / image_folder(rows[name]["split"], "masks") / f"{name}.png")
            if not np.array_equal(mask, resize_label(label, expected.size)):
                yield f"mask of {name} is not the H5 label resized"
