STAGES = (FIRST_STAGE, "render", "embed", "positional_encoding", "split", "publish", "verify")


# Last of all, and only for a dataset that was accepted: it covers every file that the others published. The target
# `provenance` asks for more than this job, so the job's rule cannot have its name.
rule write_provenance:
    input:
        index=PUBLISHED,
        h5=of_patients(H5_INDEX),
        embeddings=of_batches(EMBEDDINGS),
        documents=[VERIFIED, REPORT_INDEX, CARD_INDEX],
        accepted=ACCEPTED,
    output:
        provenance=PROVENANCE,
        index=PROVENANCE_INDEX,
    params:
        configuration={
            **{key: config[key] for key in ("normalize", "images")},
            "split": {**SPLIT_RULE.settings, "description": SPLIT_RULE.describe()},
            "encoder": {key: config["encoder"][key] for key in ("name", "precision")},
        },
        stages={stage: script_hash(stage) for stage in STAGES},
        code=script_hash("provenance"),
    message:
        "write the provenance of every file"
    log:
        log_of("provenance"),
    benchmark:
        benchmark_of("provenance")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/provenance.py"


rule provenance:
    input:
        rules.report.input,
        CARD,
        CROISSANT,
        CARD_INDEX,
        PROVENANCE,
        PROVENANCE_INDEX,
