"""Rule accept_predictions: fail with a list of the scans that could not be segmented, unless there are none."""

from pathlib import Path

from acdc_medsam.predict.accept import accept_predictions
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        accept_predictions(
            report=Path(snakemake.input.index),
            accepted=Path(snakemake.output.accepted),
            on_invalid=snakemake.params.on_invalid,
        )
