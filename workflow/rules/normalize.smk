rule normalize:
    input:
        ancient(patient_sources),
    output:
        index=H5_INDEX,
        volumes=directory(out("work/h5/{patient}/volumes")),
        slices=directory(out("work/h5/{patient}/slices")),
    log:
        out("work/logs/normalize/{patient}.log"),
    benchmark:
        out("work/benchmarks/normalize/{patient}.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        percentile=config["normalize"]["percentile"],
        sources=patient_digests,
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
