rule render:
    input:
        volumes=H5_INDEX,
    output:
        index=PNG_INDEX,
        table=SLICES,
        images=directory(out("work/png/{patient}/images")),
        masks=directory(out("work/png/{patient}/masks")),
    log:
        out("work/logs/render/{patient}.log"),
    benchmark:
        out("work/benchmarks/render/{patient}.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
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
        rules.slices.input,
        of_patients(PNG_INDEX),
        of_patients(SLICES),
