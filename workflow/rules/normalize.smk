rule normalize:
    input:
        patient_sources,
    output:
        index=H5_INDEX,
    log:
        out("work/logs/normalize/{patient}.log"),
    benchmark:
        out("work/benchmarks/normalize/{patient}.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        percentile=config["normalize"]["percentile"],
        code=script_hash("normalize"),
    message:
        "normalize {wildcards.patient}"
    script:
        "../scripts/normalize.py"


rule volumes:
    input:
        of_patients(H5_INDEX),


rule slices:
    input:
        rules.volumes.input,
