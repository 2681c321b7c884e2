# How good the fine-tuned model is on the validation patients, and on the testing ones; not part of `all`.
def measurable_manifest(wildcards):
    """The manifest, or a refusal before any job runs where no validation patient could be measured whole."""
    if config["split"]["unit"] == "slice":
        refuse(
            "evaluation measures whole patients, and with split.unit: slice the patients of 'val' are in 'train' too.",
            "Set 'split: {unit: patient}' in config.yaml. The target 'train' takes either; its log has the Dice of "
            "validation slices.",
        )
    return MANIFEST


rule evaluate_model:
    input:
        model=MODEL,
        manifest=measurable_manifest,
        index=PUBLISHED,
        checkpoint=checkpoint,
    output:
        index=EVALUATED,
    log:
        out("work/logs/evaluate.log"),
    benchmark:
        out("work/benchmarks/evaluate.tsv")
    conda:
        "../../envs/train.yaml"
    threads: 16
    params:
        code=script_hash("evaluate"),
    message:
        "evaluate {input.model}"
    script:
        "../scripts/evaluate.py"


rule evaluate:
    input:
        rules.train.input,
        EVALUATED,
