"""ACDC to MedSAM: from raw cardiac MRI to a split, verified dataset with image embeddings."""

from snakemake.utils import min_version

min_version("9.12")


configfile: f"{workflow.current_basedir}/config.yaml"


report: "workflow/report/workflow.rst"


# For `--sdm apptainer`; docs/cluster.md says how to make it.
container: f"{workflow.current_basedir}/acdc-medsam.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/hooks.smk"
include: "workflow/rules/volumes.smk"
include: "workflow/rules/render.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/publish.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/card.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/predict.smk"


rule all:
    default_target: True
    input:
        rules.provenance.input,
