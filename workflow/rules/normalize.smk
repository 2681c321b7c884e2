rule normalize:
    input:
        ancient(patient_sources),
    output:
        index=H5_INDEX,
        volumes=directory(out("work/h5/{patient}/volumes")),
        slices=directory(out("work/h5/{patient}/slices")),
    params:
        percentile=config["normalize"]["percentile"],
        sources=patient_digests,
        code=script_hash("normalize"),
    message:
        "normalize {wildcards.patient}"
    log:
        log_of("normalize/{patient}"),
    benchmark:
        benchmark_of("normalize/{patient}")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/normalize.py"
