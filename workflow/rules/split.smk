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
    log:
        out("work/logs/split.log"),
    benchmark:
        out("work/benchmarks/split.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        **config["split"],
        code=script_hash("split"),
    message:
        "split by {params.unit}, {params.validation} for validation, seed {params.seed}"
    script:
        "../scripts/split.py"
