rule split:
    input:
        tables=of_patients(SLICES),
    output:
        table=report(
            SPLIT,
            caption="../report/captions/split.rst",
            category="Dataset",
            labels={"file": "split"},
        ),
    params:
        **config["split"],
        code=script_hash("split"),
    message:
        "split by {params.unit}, {params.validation} for validation, seed {params.seed}"
    log:
        log_of("split"),
    benchmark:
        benchmark_of("split")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/split.py"
