"""Rule segment_scans: prepared scans and a trained model -> masks."""

from pathlib import Path

from acdc_medsam.predict.segment import SegmentOptions, segment_prepared
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        # Not among the params: they change the speed but no result, so they must re-run nothing.
        runtime = {key: snakemake.config["encoder"][key] for key in ("batch_size", "device")}
        segment_prepared(
            prepared=[Path(path) for path in snakemake.input.prepared],
            model=Path(snakemake.input.model),
            encoder=snakemake.params.encoder,
            output=Path(snakemake.params.output),
            index=Path(snakemake.output.index),
            options=SegmentOptions(threads=snakemake.threads, **runtime),
        )
