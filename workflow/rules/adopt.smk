rule adopt:
    input:
        ancient(patient_sources),
    output:
        index=H5_INDEX,
        volumes=directory(out("work/h5/{patient}/volumes")),
        slices=directory(out("work/h5/{patient}/slices")),
    params:
        subset=patient_subset,
        facts=patient_facts,
        sources=patient_digests,
        code=script_hash("adopt"),
    message:
        "adopt {wildcards.patient}"
    log:
        log_of("adopt/{patient}"),
    benchmark:
        benchmark_of("adopt/{patient}")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/adopt.py"
