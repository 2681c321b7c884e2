"""Rule export_lists: H5 files and the split -> lists and folders of SSL4MIS's loaders."""

from pathlib import Path

from acdc_medsam.exports.lists import export_lists
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        export_lists(
            manifest=Path(snakemake.input.manifest),
            folder=Path(snakemake.params.folder),
            index=Path(snakemake.output.index),
            published=Path(snakemake.input.index),
            link=snakemake.params.link,
            seed=snakemake.params.seed,
        )
