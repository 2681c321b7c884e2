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
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from acdc_medsam.exports.folder import Published, close_export
from acdc_medsam.formats.files import HashedFile, Row, Written, atomic_path, read_recorded, read_table
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
    """
    root = published.manifest.parent
    rows = {row["slice"]: row for row in read_table(published.manifest)}
    shards: list[Written] = []

    for split in SPLITS:
        names = rank((name for name, row in rows.items() if row["split"] == split), seed)
        for number, first in enumerate(range(0, len(names), shard_slices)):
            shard = folder / f"{split}-{number:06d}.tar"
            shard_rows = [rows[name] for name in names[first : first + shard_slices]]
            shards.append(_write_shard(shard, root, shard_rows))

    close_export(folder, index, shards)
    logger.info("%d slices in %d shards", len(rows), len(shards))


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
    yield "json", json.dumps(row, sort_keys=True).encode()
