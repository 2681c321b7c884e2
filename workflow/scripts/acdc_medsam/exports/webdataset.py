"""Export webdataset: tar shards that the webdataset library streams.

The shards are ``<split>-000000.tar`` and so on. A sample is ``<slice>.image.png``, ``.mask.png`` and
``.embedding.pth``, all as published, and ``.json``, its row of the manifest. The order of the slices is random, because
readers shuffle within a buffer only.

The library's own TarWriter is not used. It sorts the files of a sample by name, and importing it takes 1.6 s; tarfile
of the standard library writes the same in as many lines.
"""

import io
import json
import logging
import math
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from acdc_medsam.exports.folder import Published, close_export
from acdc_medsam.exports.size import announce_size
from acdc_medsam.formats.files import HashedFile, Row, Written, atomic_path, read_recorded, read_table
from acdc_medsam.formats.index import read_records
from acdc_medsam.layout import SPLITS
from acdc_medsam.stages.stratified import rank

logger = logging.getLogger(__name__)

SHARD_SLICES = 128
"""Slices in a shard: half a GiB with embeddings, a size at which disks read steadily."""


def export_webdataset(
    published: Published, folder: Path, index: Path, seed: int, shard_slices: int = SHARD_SLICES
) -> None:
    """Write the shards. The same dataset and seed give the same bytes.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        seed: Seed of the order of slices.
        shard_slices: Number of slices in a shard, 1 or more.

    Raises:
        AcdcError: There is too little space on the disk.
    """
    root = published.manifest.parent
    rows = {row["slice"]: row for row in read_table(published.manifest)}
    plan: dict[Path, list[Row]] = {}

    for split in SPLITS:
        names = rank((name for name, row in rows.items() if row["split"] == split), seed)
        for number, first in enumerate(range(0, len(names), shard_slices)):
            shard = folder / f"{split}-{number:06d}.tar"
            plan[shard] = [rows[name] for name in names[first : first + shard_slices]]

    bytes_of = {record.path: record.bytes for record, _ in read_records(published.index)}
    announce_size(folder, index, {shard: _shard_bytes(published, of, bytes_of) for shard, of in plan.items()})
    shards = [_write_shard(shard, root, shard_rows) for shard, shard_rows in plan.items()]

    close_export(folder, index, shards)
    logger.info("%d slices in %d shards", len(rows), len(shards))


def _shard_bytes(published: Published, rows: Sequence[Row], bytes_of: Mapping[Path, int]) -> int:
    """Return the size of a shard: a header for each member, each padded to blocks, and the end padded to records."""
    members = [len(_describe(row)) for row in rows]
    for row in rows:
        paths = [published.image(row).path, published.mask(row).path]
        paths += [published.manifest.parent / row["embedding"]] if row["embedding"] else []
        members += [bytes_of[path] for path in paths]

    blocks = sum(1 + math.ceil(size / tarfile.BLOCKSIZE) for size in members) + 2
    return math.ceil(blocks * tarfile.BLOCKSIZE / tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _describe(row: Row) -> bytes:
    """Return the content of a slice's ``.json``."""
    return json.dumps(row, sort_keys=True).encode()


def _write_shard(shard: Path, root: Path, rows: Sequence[Row]) -> Written:
    with atomic_path(shard, read_only=True) as temporary, temporary.open("wb") as handle:
        hashed = HashedFile(handle)
        with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows:
                for suffix, content in _read_sample(root, row):
                    # A TarInfo of its own: no time, user or mode of this machine enters the file.
                    member = tarfile.TarInfo(f"{row['slice']}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        return hashed.record(shard)


def _read_sample(root: Path, row: Row) -> Iterator[tuple[str, bytes]]:
    """Yield the suffix and content of each file of a slice's sample."""
    for kind in ("image", "mask"):
        image = root / row["split"] / f"{kind}s" / f"{row['slice']}.png"
        yield f"{kind}.png", read_recorded(image, row[f"{kind}_sha256"])
    if row["embedding"]:
        yield "embedding.pth", read_recorded(root / row["embedding"], row["embedding_sha256"])
    yield "json", _describe(row)
