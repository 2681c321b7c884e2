# One job for all patients, which measures only those that changed. A job for each patient would pay a start each time,
# and one for each batch would read all embeddings of the batch after a change of one patient.
rule measure:
    input:
        h5=of_patients(H5_INDEX),
        slices=of_patients(SLICES),
        embeddings=of_batches(EMBEDDINGS),
        raw=ancient([local(str(path)) for patient in PATIENTS.values() for path in patient.images]),
    output:
        index=MEASURES,
    params:
        code=script_hash("measure"),
    threads: 16
    message:
        "measure slices, volumes and embeddings"
    log:
        log_of("measure"),
    benchmark:
        benchmark_of("measure")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/measure.py"
