# How good the fine-tuned model is on the patients of val and test; not part of `all`. The target `evaluate` asks
# for more than this job, so the job's rule cannot have its name.


rule evaluate_model:
    input:
        model=MODEL,
        manifest=measurable_manifest,
        index=PUBLISHED,
        checkpoint=ancient(checkpoint),
    output:
        index=EVALUATED,
    params:
        weights=checkpoint_digest,
        code=script_hash("evaluate"),
    threads: 16
    message:
        "evaluate {input.model}"
    log:
        log_of("evaluate"),
    benchmark:
        benchmark_of("evaluate")
    conda:
        "../../envs/train.yaml"
    script:
        "../scripts/evaluate.py"


rule evaluate:
    input:
        rules.train.input,
        EVALUATED,
