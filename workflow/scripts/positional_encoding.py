"""Rule positional_encoding: weights of the encoder -> pe.pt."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.positional_encoding import write_positional_encoding

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        write_positional_encoding(
            name=snakemake.params.name,
            checkpoint=Path(snakemake.input.checkpoint),
            sha256=snakemake.params.sha256,
            announced=snakemake.params.weights,
            path=Path(snakemake.output.encoding),
            index=Path(snakemake.output.index),
        )
