"""Faults and unusual features of a patient's files: how to make them, and the expected outcome."""

import gzip
import math
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
"""NIfTI-1 code of a type -> NumPy's name for it without byte order."""


@dataclass(frozen=True)
class Files:
    """Files of a phantom's first frame, and its Info.cfg."""

    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / f"{self.folder.name}_frame01.nii.gz"

    @property
    def label(self) -> Path:
        return self.folder / f"{self.folder.name}_frame01_gt.nii.gz"

    @property
    def info(self) -> Path:
        return self.folder / "Info.cfg"


@dataclass(frozen=True)
class Fault:
    """Way to damage a patient's files.

    Attributes:
        name: Name of the fault.
        damage: Function that damages the files.
        message: Part of the message that reports the fault.
        file: Attribute of Files with the file that the message must name, or empty for none.
    """

    name: str
    damage: Callable[[Files], object]
    message: str
    file: str = "image"


def copy_patient(source: Path, target: Path) -> Files:
    """Copy a patient under another name."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name.replace(source.name, target.name))
    return Files(target)


def voxels(path: Path) -> Any:
    """Read the voxels of a volume as they are stored, (X, Y, Z)."""
    return np.asanyarray(nib.load(path).dataobj).copy()


def rewrite(path: Path, data: Any, affine: Any = None) -> None:
    """Replace the voxels of a volume, which may have another type and shape."""
    before = nib.load(path)
    nib.save(nib.Nifti1Image(data, before.affine if affine is None else affine), path)


def both(files: Files, change: Callable[[Any], Any]) -> None:
    """Apply the same change to the voxels of image and label."""
    for path in (files.image, files.label):
        rewrite(path, change(voxels(path)))


def edit_header(path: Path, **fields: Any) -> None:
    """Change fields in the header of a compressed file, or single elements of them (``field__index``)."""
    data = gzip.decompress(path.read_bytes())
    header = nib.Nifti1Header(data[:348], check=False)
    for name, value in fields.items():
        field, _, index = name.partition("__")
        if index:
            header[field][int(index)] = value
        else:
            header[field] = value
    path.write_bytes(gzip.compress(header.binaryblock + data[348:]))


def edit_bytes(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a file."""
    path.write_bytes(change(path.read_bytes()))


def edit_info(files: Files, **keys: str) -> None:
    """Replace lines of Info.cfg; an empty value removes the line."""
    lines = [line for line in files.info.read_text().splitlines() if line.split(":")[0] not in keys]
    files.info.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in keys.items() if value)]))


def set_voxel(path: Path, value: float, dtype: str) -> None:
    """Convert a volume to a data type and give one voxel a value."""
    data = voxels(path).astype(dtype)
    data[1, 1, 1] = value
    rewrite(path, data)


def uncompress(path: Path, cut: int = 0) -> None:
    """Replace a ``.nii.gz`` by a ``.nii`` without its last ``cut`` bytes."""
    data = gzip.decompress(path.read_bytes())
    path.with_suffix("").write_bytes(data[: len(data) - cut])
    path.unlink()


def flatten(path: Path, value: int) -> None:
    """Give the smallest value to 99.5 % of the voxels, so that it is also the 99th percentile."""
    data = np.full(voxels(path).shape, value, np.int16)
    data.flat[:: data.size // 30] = value + 100
    rewrite(path, data)


VOLUME_FAULTS = [
    Fault("truncated gzip", lambda f: edit_bytes(f.image, lambda b: b[: len(b) // 2]), "damaged gzip data"),
    Fault("truncated by a byte", lambda f: edit_bytes(f.image, lambda b: b[:-1]), "damaged gzip data"),
    Fault(
        "bad gzip checksum",
        lambda f: edit_bytes(f.image, lambda b: b[:-8] + bytes(8 * [7])),
        "damaged gzip data (CRC check failed",
    ),
    Fault(
        "bytes changed in the middle",
        lambda f: edit_bytes(f.image, lambda b: b[: len(b) // 2] + b"\xff" * 20 + b[len(b) // 2 + 20 :]),
        "damaged gzip data",
    ),
    Fault("not gzip", lambda f: f.image.write_text("<html>Sign in</html>"), "damaged gzip data (Not a gzipped file"),
    Fault(
        "not NIfTI",
        lambda f: f.image.write_bytes(gzip.compress(b"something else " * 99)),
        "not a readable NIfTI file",
    ),
    Fault("zero bytes", lambda f: f.image.write_bytes(b""), "the file is empty (0 bytes)"),
    Fault("gzip of nothing", lambda f: f.image.write_bytes(gzip.compress(b"")), "not a readable NIfTI file"),
    Fault(
        "label of another shape",
        lambda f: rewrite(f.label, voxels(f.label)[:, :, :-1]),
        "shape (48, 40, 2) differs from its image's (48, 40, 3)",
        "label",
    ),
    Fault(
        "label elsewhere",
        lambda f: rewrite(f.label, voxels(f.label), nib.load(f.label).affine + np.eye(4)[:, [3, 3, 3, 0]] * 5),
        "position or spacing (affine, pixdim) differs from its image's",
        "label",
    ),
    Fault(
        "label of another spacing",
        lambda f: rewrite(f.label, voxels(f.label), nib.load(f.label).affine * [[1.5], [1], [1], [1]]),
        "position or spacing (affine, pixdim) differs",
        "label",
    ),
    Fault(
        "label of another pixdim alone",
        lambda f: (
            [
                edit_header(p, sform_code=1, srow_x=[1, 0, 0, 0], srow_y=[0, 1, 0, 0], srow_z=[0, 0, 9, 0])
                for p in (f.image, f.label)
            ]
            and edit_header(f.label, pixdim__3=7)
        ),
        "position or spacing (affine, pixdim) differs",
        "label",
    ),
    Fault("label 4", lambda f: set_voxel(f.label, 4, "u1"), "label value 4; only 0 to 3 are known", "label"),
    Fault("label -1", lambda f: set_voxel(f.label, -1, "i2"), "label value -1; only 0 to 3", "label"),
    Fault("label 0.5", lambda f: set_voxel(f.label, 0.5, "f4"), "label value 0.5; only 0 to 3", "label"),
    Fault("label scaled", lambda f: edit_header(f.label, scl_slope=0.5), "label value 0.5, 1.5; only 0 to 3", "label"),
    Fault("NaN", lambda f: set_voxel(f.image, math.nan, "f4"), "contains NaN or infinite voxels"),
    Fault("infinite", lambda f: set_voxel(f.image, math.inf, "f8"), "contains NaN or infinite voxels"),
    Fault("constant", lambda f: rewrite(f.image, np.full_like(voxels(f.image), 3)), "no range to scale: 100.0%"),
    Fault(
        "99th percentile is the minimum",
        lambda f: flatten(f.image, 2),
        "intensities have no range to scale: 99.",
    ),
    Fault("2D", lambda f: both(f, lambda data: data[:, :, 0]), "2-dimensional; a frame must have 3 dimensions"),
    Fault("4D", lambda f: rewrite(f.image, voxels(f.image)[..., None].repeat(2, 3)), "4-dimensional"),
    Fault(
        "claims gigabytes",
        lambda f: edit_header(f.image, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]),
        "its header claims 30000 x 30000 x 30000 voxels",
    ),
    Fault(
        "claims more than is there",
        lambda f: edit_header(f.image, dim__3=40),
        "cut short: 11520 of 153600 bytes of voxels are there",
    ),
    Fault("claims less than is there", lambda f: edit_header(f.image, dim__3=2), "holds more slices than the 2"),
    Fault(
        "a bomb",
        lambda f: f.image.write_bytes(
            gzip.compress(gzip.decompress(f.image.read_bytes()) + bytes(64 * 2**20), compresslevel=1)
        ),
        "holds more slices than the 3 that its header says",
    ),
    Fault("no voxels", lambda f: edit_header(f.image, dim__3=0), "its header claims 48 x 40 x 0 voxels"),
    Fault("a negative size", lambda f: edit_header(f.image, dim__1=-48), "its header claims -48 x 40 x 3 voxels"),
    Fault("an unknown type", lambda f: edit_header(f.image, datatype=3333), "its NIfTI header makes no sense"),
    Fault("complex voxels", lambda f: rewrite(f.image, voxels(f.image) + 1j), "voxels are of type complex128"),
    Fault("voxels nowhere", lambda f: edit_header(f.image, vox_offset=math.nan), "its NIfTI header makes no sense"),
    Fault("scaled by NaN", lambda f: edit_header(f.image, scl_slope=2, scl_inter=math.nan), "header makes no sense"),
    Fault("no spacing", lambda f: edit_header(f.image, pixdim__3=0), "spacing (pixdim) is"),
    Fault("spacing of NaN", lambda f: edit_header(f.image, pixdim__1=math.nan), "spacing (pixdim) is nan x"),
    Fault(
        "position of NaN",
        lambda f: edit_header(f.image, sform_code=1, srow_x=[math.nan] * 4),
        "position and orientation (affine) make no sense",
    ),
    Fault(
        "intensities of 2^31",
        lambda f: set_voxel(f.image, 2**31 - 1, "i4"),
        "intensities span more than 16777216, as no MR image does",
    ),
    Fault("a header of two files", lambda f: edit_header(f.image, magic=b"ni1"), "not a readable NIfTI file"),
    Fault("a .nii cut short", lambda f: uncompress(f.image, cut=100), "which a file of"),
]
"""Faults that only reading the voxels shows. The job that normalizes the patient reports them."""

COHORT_FAULTS = [
    Fault(".nii beside .nii.gz", lambda f: f.image.with_suffix("").touch(), "both .nii.gz and .nii are there"),
    Fault("image missing", lambda f: f.image.unlink(), "is missing: the ED frame that Info.cfg names"),
    Fault("label missing", lambda f: f.label.unlink(), "is missing: the label of the ED frame", "label"),
    Fault("Info.cfg missing", lambda f: f.info.unlink(), "Info.cfg is missing; copy it", "info"),
    Fault("Info.cfg empty", lambda f: f.info.write_bytes(b""), "Info.cfg holds no line such as 'ED: 1'", "info"),
    Fault("Info.cfg nonsense", lambda f: f.info.write_bytes(bytes(range(256)) * 9), "holds no line such as", "info"),
    Fault("Info.cfg other text", lambda f: f.info.write_text("hello: you"), "Info.cfg: ED is missing; give", "info"),
    Fault("Info.cfg a folder", lambda f: f.info.unlink() or f.info.mkdir(), "Info.cfg is missing", "info"),
    Fault("Info.cfg a pipe", lambda f: f.info.unlink() or os.mkfifo(f.info), "Info.cfg is missing", "info"),
    Fault("a link to nowhere", lambda f: f.image.unlink() or f.image.symlink_to("/nowhere"), "is missing: the ED"),
    Fault("ED missing", lambda f: edit_info(f, ED=""), "Info.cfg: ED is missing; give the number", "info"),
    Fault("ED is text", lambda f: edit_info(f, ED="one"), "ED is 'one', which is not a frame number", "info"),
    Fault("ED is 0", lambda f: edit_info(f, ED="0"), "ED is '0', which is not a frame number", "info"),
    Fault("ED of 5000 digits", lambda f: edit_info(f, ED="1" * 5000), "which is not a frame number", "info"),
    Fault("ED twice", lambda f: edit_info(f, ED="1\nED: 2"), "ED is given twice, '1' and '2'; keep one", "info"),
    Fault("a path as ED", lambda f: edit_info(f, ED="../01"), "'../01', which is not a frame number", "info"),
    Fault(
        "ED equal to ES",
        lambda f: edit_info(f, ES="1"),
        "Info.cfg: ED and ES are the same frame 1; correct one of them",
        "info",
    ),
    Fault("a frame that is not there", lambda f: edit_info(f, ED="28"), "frame28.nii.gz is missing", ""),
    Fault("Group missing", lambda f: edit_info(f, Group=""), "Info.cfg: Group is missing; it must be one of", "info"),
    Fault("Group unknown", lambda f: edit_info(f, Group="ABC"), "Info.cfg: Group is ABC; it must be one of", "info"),
]
"""Faults that are reported before any job runs."""


def scale(files: Files) -> None:
    """Scale the intensities in the header, as slope and intercept."""
    edit_header(files.image, scl_slope=1.5, scl_inter=-20)


def swap_bytes(files: Files) -> None:
    """Save image and label in big-endian byte order."""
    for path in (files.image, files.label):
        image = nib.load(path)
        swapped = nib.Nifti1Image(voxels(path), image.affine, image.header.as_byteswapped(">"))
        nib.save(swapped, path)


def set_other_sform(files: Files) -> None:
    """Set the sform to 1 x 1 x 1 mm, unlike qform and pixdim, as in ACDC's patient100."""
    for path in (files.image, files.label):
        edit_header(path, sform_code=1, srow_x=[1, 0, 0, 0], srow_y=[0, 1, 0, 0], srow_z=[0, 0, 1, 0])


def link_outside(files: Files) -> None:
    """Replace the patient's folder by a link to a folder outside the raw folder."""
    outside = files.folder.parents[2] / f"elsewhere {files.folder.name}"
    files.folder.rename(outside)
    files.folder.symlink_to(outside)


def convert_to(dtype: str) -> Callable[[Files], None]:
    """Return a function that converts the image to a data type."""
    return lambda files: rewrite(files.image, np.clip(voxels(files.image), 0, 200).astype(dtype))


UNUSUAL: dict[str, Callable[[Files], object]] = {
    "one slice": lambda f: both(f, lambda data: data[:, :, 1:2]),
    "scl_slope and scl_inter": scale,
    "big-endian": swap_bytes,
    "sform against qform and pixdim": set_other_sform,
    "a link that leads outside": link_outside,
    "uncompressed": lambda f: uncompress(f.image),
    "gzip in two members": lambda f: f.image.write_bytes(
        b"".join(gzip.compress(part) for part in (gzip.decompress(f.image.read_bytes()).partition(b"n+1")))
    ),
    "a negative pixdim": lambda f: edit_header(f.image, pixdim__1=-float(nib.load(f.image).header["pixdim"][1])),
    "byte-order mark": lambda f: f.info.write_bytes(b"\xef\xbb\xbf" + f.info.read_bytes()),
    "CRLF": lambda f: edit_bytes(f.info, lambda b: b.replace(b"\n", b"\r\n")),
    "a key twice alike": lambda f: edit_bytes(f.info, lambda b: b + b"ED: 1\n"),
    "intensities around 2^31": lambda f: rewrite(f.image, voxels(f.image).astype(np.int32) + 2_000_000_000),
    **{dtype: convert_to(dtype) for dtype in ("u1", "i1", "u2", "u4", "i4", "f8")},
}
"""Unusual but valid features, which must give the right result."""


def plain_volume(path: Path) -> Any:
    """Read a NIfTI-1 volume (Z, H, W) by its specification, with struct and NumPy alone."""
    data = path.read_bytes() if path.suffix == ".nii" else gzip.decompress(path.read_bytes())

    # The first field, the size of the header, is 348 in the right byte order.
    order = "<" if struct.unpack_from("<i", data)[0] == 348 else ">"
    dimensions = struct.unpack_from(f"{order}8h", data, 40)
    code = struct.unpack_from(f"{order}h", data, 70)[0]
    offset, slope, inter = struct.unpack_from(f"{order}3f", data, 108)
    x, y, z = dimensions[1:4]

    volume = np.frombuffer(data, order + DTYPES[code], x * y * z, int(offset)).reshape(z, y, x)
    unscaled = slope == 0 or math.isnan(slope) or (slope, inter) == (1, 0)
    return volume if unscaled else volume * slope + inter


def plain_normalized(volume: Any) -> Any:
    """Normalize by definition: the lowest bin center that 99 % of the voxels do not exceed becomes 1."""
    if volume.dtype.kind in "iu":
        values, counts = np.unique(volume, return_counts=True)
    else:
        counts, edges = np.histogram(volume, 256)
        values = (edges[:-1] + edges[1:]) / 2
    threshold = float(values[np.searchsorted(np.cumsum(counts) / volume.size, 0.99)])
    low = float(volume.min())
    return (np.minimum(volume.astype(np.float64), threshold) - low) / (threshold - low)
