"""Rule export_structures: published slices -> the dataset once per structure, with binary masks."""

from pathlib import Path

from acdc_medsam.exports.structures import export_structures
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        export_structures(
            manifest=Path(snakemake.input.manifest),
            folder=Path(snakemake.params.folder),
            index=Path(snakemake.output.index),
            published=Path(snakemake.input.index),
            link=snakemake.params.link,
        )
