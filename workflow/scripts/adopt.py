"""Rule adopt: H5 volumes and slices of one patient -> the workflow's own H5 volumes and slices."""

from pathlib import Path

from acdc_medsam.acdc.raw_h5 import H5Patient, group_frames
from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.adopt import adopt_patient

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        frames = group_frames(Path(path) for path in snakemake.input)
        adopt_patient(
            patient=H5Patient(snakemake.wildcards.patient, snakemake.params.subset, frames, snakemake.params.facts),
            index=Path(snakemake.output.index),
            raw=Path(snakemake.config["raw"]),
            announced=snakemake.params.sources,
            # Not among the params: it changes no result of a sound patient, so it must re-run none.
            on_invalid=snakemake.config["on_invalid"],
        )
