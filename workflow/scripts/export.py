"""Rule export: published dataset -> the dataset in another layout."""

from pathlib import Path

from acdc_medsam.exports.folder import Published
from acdc_medsam.exports.registry import LAYOUTS
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        LAYOUTS[snakemake.wildcards.layout].export(
            published=Published(manifest=Path(snakemake.input.manifest), index=Path(snakemake.input.index)),
            folder=Path(snakemake.params.folder),
            index=Path(snakemake.output.index),
            **snakemake.params.options,
        )
