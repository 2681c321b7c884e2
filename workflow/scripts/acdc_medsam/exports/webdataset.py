"""Export webdataset: tar shards that the webdataset library streams.

``<split>-000000.tar`` and so on; a sample is ``<slice>.image.png``, ``.mask.png``, ``.embedding.pth``, as published,
and ``.json``, its row of the manifest. Slices are shuffled for good, because readers shuffle within a buffer only.
"""

import io
import json
import logging
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from acdc_medsam.exports.folder import close_export
from acdc_medsam.formats.files import HashedFile, Row, Written, atomic_path, read_recorded, read_table
from acdc_medsam.layout import SPLITS
from acdc_medsam.stages.split import rank

logger = logging.getLogger(__name__)

SHARD_SLICES = 128
"""Slices in a shard: half a GiB with embeddings, a size at which disks read steadily."""


def export_webdataset(manifest: Path, folder: Path, index: Path, seed: int, shard_slices: int = SHARD_SLICES) -> None:
    """Write the shards; the same dataset and seed give the same bytes.

    Args:
        manifest: ``manifest.tsv`` of the published dataset.
        folder: of the export.
        index: declared output.
        seed: of the order of slices.
        shard_slices: slices in a shard, 1 or more.
    """
    rows = {row["slice"]: row for row in read_table(manifest)}
    shards = list[Written]()
    for split in SPLITS:
        names = rank((name for name, row in rows.items() if row["split"] == split), seed)
        for number, first in enumerate(range(0, len(names), shard_slices)):
            shard = folder / f"{split}-{number:06d}.tar"
            of_shard = [rows[name] for name in names[first : first + shard_slices]]
            shards.append(_write_shard(shard, manifest.parent, of_shard))
    close_export(folder, index, shards)
    logger.info("%d slices in %d shards", len(rows), len(shards))


def _write_shard(shard: Path, root: Path, rows: Sequence[Row]) -> Written:
    with atomic_path(shard, read_only=True) as temporary, temporary.open("wb") as handle:
        hashed = HashedFile(handle)
        with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows:
                for ending, content in _parts(root, row):
                    # A TarInfo of its own: no time, user or mode of this machine enters the file.
                    member = tarfile.TarInfo(f"{row['slice']}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        return hashed.record(shard)


def _parts(root: Path, row: Row) -> Iterator[tuple[str, bytes]]:
    for kind in ("image", "mask"):
        image = root / row["split"] / f"{kind}s" / f"{row['slice']}.png"
        yield f"{kind}.png", read_recorded(image, row[f"{kind}_sha256"])
    if row["embedding"]:
        yield "embedding.pth", read_recorded(root / row["embedding"], row["embedding_sha256"])
    yield "json", json.dumps(row, sort_keys=True).encode()
