"""Rule export_nnunet: raw NIfTI volumes and the split -> raw dataset of nnU-Net v2."""

from pathlib import Path

from acdc_medsam.exports.nnunet import export_nnunet
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        export_nnunet(
            manifest=Path(snakemake.input.manifest),
            folder=Path(snakemake.params.folder),
            index=Path(snakemake.output.index),
            volumes=[Path(path) for path in snakemake.input.volumes],
            announced=snakemake.params.volumes,
        )
