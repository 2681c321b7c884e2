rule render:
    input:
        volumes=H5_INDEX,
    output:
        index=PNG_INDEX,
        table=SLICES,
        images=directory(out("work/png/{patient}/images")),
        masks=directory(out("work/png/{patient}/masks")),
    params:
        size=config["images"]["size"],
        keep_empty=config["images"]["keep_empty"],
        code=script_hash("render"),
    message:
        "render {wildcards.patient}"
    log:
        log_of("render/{patient}"),
    benchmark:
        benchmark_of("render/{patient}")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/render.py"


rule images:
    input:
        rules.slices.input,
        of_patients(PNG_INDEX),
        of_patients(SLICES),
