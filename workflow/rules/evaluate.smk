# How good the fine-tuned model is on the validation patients, and on the testing ones; not part of `all`.


rule evaluate_model:
    input:
        model=MODEL,
        manifest=measurable_manifest,
        index=PUBLISHED,
        checkpoint=ancient(checkpoint),
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
        weights=checkpoint_digest,
        code=script_hash("evaluate"),
    message:
        "evaluate {input.model}"
    script:
        "../scripts/evaluate.py"


rule evaluate:
    input:
        rules.train.input,
        EVALUATED,
