"""Rule render: H5 volumes of one patient -> PNG images and masks, and the table of slices."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.render import render_patient

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        render_patient(
            volumes=Path(snakemake.input.volumes),
            index=Path(snakemake.output.index),
            table=Path(snakemake.output.table),
            size=snakemake.params["size"],
            keep_empty=snakemake.params.keep_empty,
        )
