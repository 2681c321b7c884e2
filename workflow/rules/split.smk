rule split:
    input:
        tables=of_patients(SLICES),
    output:
        table=SPLIT,
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
