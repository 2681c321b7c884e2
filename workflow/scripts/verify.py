"""Rule verify_dataset: every published file -> quality.json."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.verify.checks import Expectations
from acdc_medsam.verify.run import verify_dataset

EXPECTED = ("size", "keep_empty", "embeddings")

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        verify_dataset(
            output=Path(snakemake.input.manifest).parents[2],
            published=Path(snakemake.input.index),
            quality=Path(snakemake.output.quality),
            index=Path(snakemake.output.index),
            expected=Expectations(
                **{key: snakemake.params[key] for key in EXPECTED}, split=SplitRule(**snakemake.params.split)
            ),
            threads=snakemake.threads,
        )
