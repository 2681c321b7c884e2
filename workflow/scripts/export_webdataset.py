"""Rule export_webdataset: published slices -> tar shards for the webdataset library."""

from pathlib import Path

from acdc_medsam.exports.webdataset import export_webdataset
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        export_webdataset(
            manifest=Path(snakemake.input.manifest),
            folder=Path(snakemake.params.folder),
            index=Path(snakemake.output.index),
            seed=snakemake.params.seed,
        )
