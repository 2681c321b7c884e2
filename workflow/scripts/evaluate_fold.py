"""Rule evaluate_fold: model of a fold and dataset -> masks and 3D metrics of the patients that the fold holds out."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.train import require_libraries

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        require_libraries()
        from acdc_medsam.data.assignment import read_assignment
        from acdc_medsam.evaluate.run import evaluate_model

        data = Path(snakemake.input.manifest).parent
        index = Path(snakemake.output.index)
        evaluate_model(
            data=data,
            volumes=data.parents[1],
            checkpoint=Path(snakemake.input.checkpoint),
            model=Path(snakemake.input.trained).with_name("model.pth"),
            splits=["test"],
            out=index.parent,
            index=index,
            threads=snakemake.threads,
            assignment=read_assignment(Path(snakemake.input.patients)),
        )
