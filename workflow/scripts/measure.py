"""Rule measure: H5 volumes, PNG images, embeddings and raw images -> measures of each, for the report."""

import os
from pathlib import Path

# Patients are measured in parallel, so each of them computes alone. NumPy reads this when it is first imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from acdc_medsam.measures.run import measure_dataset
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        measure_dataset(
            **{key: [Path(path) for path in snakemake.input[key]] for key in ("h5", "slices", "embeddings", "raw")},
            index=Path(snakemake.output.index),
            code=snakemake.params.code,
            # One more, because a thread that waits for the disk leaves its core to another.
            threads=snakemake.threads + 1,
        )
