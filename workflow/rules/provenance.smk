STAGES = ("normalize", "render", "embed", "positional_encoding", "split", "publish", "verify")


# Last of all, and only of a dataset that was accepted: it covers every file that the others published.
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
    log:
        out("work/logs/provenance.log"),
    benchmark:
        out("work/benchmarks/provenance.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        configuration={
            **{key: config[key] for key in ("normalize", "images", "split")},
            "encoder": {key: config["encoder"][key] for key in ("name", "precision")},
        },
        stages={stage: script_hash(stage) for stage in STAGES},
        code=script_hash("provenance"),
    message:
        "write the provenance of every file"
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
