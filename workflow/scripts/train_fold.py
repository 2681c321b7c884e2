"""Rule train_fold: dataset, patients of a fold and the encoder's model -> the model with a fine-tuned mask decoder."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.train import require_libraries

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        require_libraries()
        from acdc_medsam.data.assignment import read_assignment
        from acdc_medsam.train.fit import TrainOptions, fine_tune

        keys = ("epochs", "learning_rate", "seed", "patients")
        fine_tune(
            data=Path(snakemake.input.manifest).parent,
            checkpoint=Path(snakemake.input.checkpoint),
            model=Path(snakemake.output.index).with_name("model.pth"),
            options=TrainOptions(**{key: snakemake.params[key] for key in keys}),
            device=snakemake.config["encoder"]["device"],
            threads=snakemake.threads,
            percentile=snakemake.params.percentile,
            assignment=read_assignment(Path(snakemake.input.patients)),
        )
