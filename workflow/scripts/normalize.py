"""Rule normalize: NIfTI frames of one patient -> normalized H5 volumes and slices."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.normalize import normalize_patient

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        normalize_patient(
            source=Path(snakemake.input[0]).parent,
            index=Path(snakemake.output.index),
            percentile=snakemake.params.percentile,
            announced=snakemake.params.sources,
            # Not among the params: it changes no result of a sound patient, so it must re-run none.
            on_invalid=snakemake.config["on_invalid"],
        )
