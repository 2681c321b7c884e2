rule render:
    input:
        volumes=H5_INDEX,
    output:
        index=PNG_INDEX,
        table=SLICES,
    log:
        out("work/logs/render/{patient}.log"),
    benchmark:
        out("work/benchmarks/render/{patient}.tsv")
    params:
        size=config["images"]["size"],
        keep_empty=config["images"]["keep_empty"],
        code=script_hash("render"),
    message:
        "render {wildcards.patient}"
    script:
        "../scripts/render.py"


rule images:
    input:
        of_patients(PNG_INDEX),
