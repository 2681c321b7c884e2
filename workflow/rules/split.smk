rule split:
    input:
        tables=of_patients(SLICES),
        file=ancient(split_file),
    output:
        table=report(
            SPLIT,
            caption="../report/captions/split.rst",
            category="Dataset",
            labels={"file": "split"},
        ),
    params:
        split=SPLIT_RULE.settings,
        words=SPLIT_RULE.describe(),
        code=script_hash("split"),
    message:
        "split {params.words}"
    log:
        log_of("split"),
    benchmark:
        benchmark_of("split")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/split.py"
