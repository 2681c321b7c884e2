"""Find the scans to segment: NIfTI files that are named, and those in folders."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.acdc.labels import PHASES
from acdc_medsam.acdc.naming import INFO_NAME, LABEL_ENDING
from acdc_medsam.acdc.raw_nifti import SUFFIXES, read_info
from acdc_medsam.errors import ConfigError, VolumeError, describe_os_error

LONG_AXIS = re.compile(r"_LA(_|$)", re.IGNORECASE)
"""Part of the names of long-axis scans in M&Ms-2, which show the heart in another direction than the model knows."""

NAME_LENGTH = 150
"""Longest name of a scan; file systems allow 255 bytes, of which temporary files need some."""

SCANS_PER_JOB = 16
"""Largest mean number of scans that one job segments."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_KIND = re.compile(r"(_(frame\d+|4d|sax?|cine|ed|es))+$", re.IGNORECASE)
_ACDC = re.compile(r"(?P<patient>.+)_(frame(?P<frame>\d+)|4d)", re.IGNORECASE)
_ENDS_WITH_PHASE = re.compile(rf"_({'|'.join(PHASES)})$", re.IGNORECASE)


@dataclass(frozen=True)
class ScanFile:
    """A file with a scan.

    Attributes:
        path: The NIfTI file.
        name: Name of the scan: that of the file without ending, in letters, digits, dots, hyphens and underscores.
        subject: Name of the person: the scan's without what says which of the person's scans it is.
    """

    path: Path
    name: str
    subject: str

    @property
    def info(self) -> Path | None:
        """The patient's Info.cfg, if the file is named as in ACDC and Info.cfg is beside it."""
        info = self.path.with_name(INFO_NAME)
        return info if _ACDC.fullmatch(_stem(self.path)) and info.is_file() else None

    @property
    def sources(self) -> list[Path]:
        """Every file that is read."""
        return [self.path, *([self.info] if self.info else [])]

    def phases(self, frames: int) -> tuple[str | None, ...]:
        """Return ED, ES or None for each frame, as the file's name or the patient's Info.cfg says.

        Args:
            frames: Number of frames; 1 for a single volume.
        """
        named = _ENDS_WITH_PHASE.search(_stem(self.path))
        if named and frames == 1:
            return (named[1].upper(),)

        acdc = _ACDC.fullmatch(_stem(self.path))
        if not acdc or not self.info:
            return (None,) * frames
        # What is wrong with Info.cfg does not matter here: without a phase, the scan is measured nevertheless.
        facts, _ = read_info(self.info, [])
        phases = {facts[phase].lstrip("0"): phase for phase in PHASES if phase in facts}
        first = int(acdc["frame"] or 1)
        return tuple(phases.get(str(first + index)) for index in range(frames))


@dataclass(frozen=True)
class Found:
    """Outcome of the search for scans.

    Attributes:
        scans: The scans, in order of their names.
        failed: File or folder -> why it gives no scan.
        passed_over: Files in folders that are labels or long-axis scans.
    """

    scans: tuple[ScanFile, ...]
    failed: dict[str, str]
    passed_over: tuple[Path, ...]


def find_scans(paths: Sequence[Path], output: Path) -> Found:
    """Find scans.

    Args:
        paths: NIfTI files, or folders, which are searched with all folders in them. Labels (``*_gt.nii.gz``) and
            long-axis scans (``*_LA_*.nii.gz``) in folders are passed over.
        output: The folder for the masks, which are no scans.
    """
    failed = dict[str, str]()
    files = dict[Path, Path]()
    passed_over = list[Path]()
    for path in paths:
        try:
            for file in _list_files(path, output):
                # A file may be named and lie in a folder that is named.
                if path.is_dir() and (_stem(file).endswith(LABEL_ENDING) or LONG_AXIS.search(_stem(file))):
                    passed_over.append(file)
                else:
                    files.setdefault(file.resolve(), file)
        except VolumeError as error:
            failed[str(path)] = str(error)

    by_name = defaultdict[str, list[Path]](list)
    for file in files.values():
        by_name[_UNSAFE.sub("_", _stem(file)).strip("._-")].append(file)
    for name, same in by_name.items():
        problem = _find_problem(name, same)
        failed |= {str(file): problem for file in same if problem}

    scans = [
        ScanFile(file, name, _KIND.sub("", name) or name)
        for name, same in sorted(by_name.items())
        for file in same
        if str(file) not in failed
    ]
    return Found(tuple(scans), failed, tuple(passed_over))


def require_scans(folder: str | None, found: Found) -> None:
    """Refuse a run without any scan.

    Args:
        folder: The configured folder of scans.
        found: What was found in it.

    Raises:
        ConfigError: No folder is configured, or there is no file in it that could be a scan.
    """
    if folder is None:
        raise ConfigError("predict.scans in config.yaml must be the folder with the scans to segment; it is null")
    if not found.scans:
        raise ConfigError(f"predict.scans: no scan to segment in {folder}:\n" + "\n".join(found.failed.values()))


def divide_scans(names: Iterable[str]) -> dict[str, list[str]]:
    """Divide scans into parts that are segmented by one job each.

    A scan's part depends on its name alone, until there are so many scans that each part is divided in two.

    Returns:
        Name of each part, such as ``1-of-4`` -> names of its scans.
    """
    ordered = sorted(names)
    count = 1
    while len(ordered) > count * SCANS_PER_JOB:
        count *= 2

    parts = defaultdict[str, list[str]](list)
    for name in ordered:
        number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % count
        parts[f"{number + 1}-of-{count}"].append(name)
    return dict(parts)


def _list_files(path: Path, output: Path) -> Iterator[Path]:
    """Yield a file, or the NIfTI files in a folder and in all folders below it, in the order of their names."""
    if not path.is_dir():
        if not path.is_file():
            raise VolumeError(f"{path}: there is no such file or folder; correct its name")
        yield path
        return

    def fail(error: OSError) -> None:
        raise VolumeError(describe_os_error(error)) from error

    found = False
    for folder, folders, names in os.walk(path, onerror=fail):
        folders[:] = sorted(name for name in folders if name[0] != "." and not _is_same(Path(folder, name), output))
        for name in sorted(names):
            file = Path(folder, name)
            if name[0] != "." and name.endswith(SUFFIXES) and file.is_file():
                found = True
                yield file
    if not found:
        raise VolumeError(f"{path}: there is no NIfTI file in this folder or below it; name another folder")


def _is_same(folder: Path, other: Path) -> bool:
    return folder.resolve() == other.resolve()


def _find_problem(name: str, files: Sequence[Path]) -> str:
    """Return why files cannot be scans of this name; an empty text if there is no reason."""
    if not name or len(name) > NAME_LENGTH:
        return f"its name without ending must have 1 to {NAME_LENGTH} letters or digits; rename the file"
    if len(files) > 1:
        return f"{len(files)} scans would be named {name}: {', '.join(map(str, files))}; rename all but one of them"
    return ""


def _stem(path: Path) -> str:
    """Return the name of a file without the ending of a NIfTI file."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), "")
    return path.name.removesuffix(suffix)
