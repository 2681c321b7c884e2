"""Rule embed: PNG images of a batch of patients -> embeddings in the store, and the table of the batch."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.embed import EncoderOptions, embed_batch


def options(snakemake) -> EncoderOptions:  # type: ignore[no-untyped-def]
    """Gather the options of the encoder."""
    # Not among the params: they change the speed but no result, so they must re-run nothing.
    runtime = {key: snakemake.config["encoder"][key] for key in ("batch_size", "device")}
    result = {key: snakemake.params[key] for key in ("name", "sha256", "precision", "code")}
    return EncoderOptions(
        checkpoint=Path(snakemake.input.checkpoint),
        announced=snakemake.params.weights,
        threads=snakemake.threads,
        **runtime,
        **result,
    )


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        table = Path(snakemake.output.table)
        embed_batch(
            tables=[Path(path) for path in snakemake.input.tables],
            table=table,
            store=table.parents[1] / "store",
            options=options(snakemake),
        )
