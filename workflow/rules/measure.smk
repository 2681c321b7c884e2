# One job for all patients, which measures those that changed: so a patient costs no start of its own, and a change
# of one patient does not read the embeddings of the others in its batch again.
rule measure:
    input:
        h5=of_patients(H5_INDEX),
        slices=of_patients(SLICES),
        embeddings=of_batches(EMBEDDINGS),
        raw=ancient([str(frame.image) for patient in PATIENTS.values() for frame in patient.frames]),
    output:
        index=MEASURES,
    log:
        out("work/logs/measure.log"),
    benchmark:
        out("work/benchmarks/measure.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    threads: 16
    params:
        code=script_hash("measure"),
    message:
        "measure slices, volumes and embeddings"
    script:
        "../scripts/measure.py"
