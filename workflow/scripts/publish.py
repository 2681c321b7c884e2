"""Rule publish: H5 files, images, masks and embeddings -> the layout that training code reads."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.publish import PublishSources, publish_dataset


def sources(given) -> PublishSources:  # type: ignore[no-untyped-def]
    """Gather the rule's inputs; ``encoding`` is empty for a dataset without embeddings."""
    lists = {key: [Path(path) for path in given[key]] for key in ("h5", "png", "slices", "embeddings")}
    return PublishSources(**lists, split=Path(given.split), encoding=Path(given.encoding) if given.encoding else None)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        publish_dataset(
            sources=sources(snakemake.input),
            subsets=snakemake.params.subsets,
            left_out=snakemake.params.left_out,
            output=Path(snakemake.output.manifest).parents[2],
            manifest=Path(snakemake.output.manifest),
            index=Path(snakemake.output.index),
            link=snakemake.params.link,
        )
