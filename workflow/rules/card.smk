rule card:
    input:
        manifest=MANIFEST,
        quality=QUALITY,
        template=workflow.source_path("../report/card.md.j2"),
    output:
        card=CARD,
        croissant=CROISSANT,
        index=CARD_INDEX,
    log:
        out("work/logs/card.log"),
    benchmark:
        out("work/benchmarks/card.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        settings={
            "encoder": ENCODER,
            "precision": config["encoder"]["precision"],
            **config["normalize"],
            **config["images"],
            **config["split"],
        },
        code=script_hash("card"),
    message:
        "write the dataset card"
    script:
        "../scripts/card.py"
