"""Rule evaluate_model: fine-tuned model and dataset -> masks and 3D metrics of the patients of val and test."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.train import require_libraries

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        require_libraries()
        from acdc_medsam.evaluate.run import evaluate_model, splits_to_measure

        data = Path(snakemake.input.manifest).parent
        index = Path(snakemake.output.index)
        evaluate_model(
            data=data,
            volumes=data.parents[1],
            checkpoint=Path(snakemake.input.checkpoint),
            model=Path(snakemake.input.model),
            splits=splits_to_measure(data),
            out=index.parent,
            index=index,
            threads=snakemake.threads,
        )
