rule card:
    input:
        manifest=MANIFEST,
        quality=QUALITY,
        template=workflow.source_path("../report/card.md.j2"),
    output:
        card=CARD,
        croissant=CROISSANT,
        index=CARD_INDEX,
    params:
        settings={
            "encoder": ENCODER,
            "precision": config["encoder"]["precision"],
            **config["normalize"],
            **config["images"],
            "split": SPLIT_RULE.settings,
            "raw": RAW_KIND,
        },
        code=script_hash("card"),
    message:
        "write the dataset card"
    log:
        log_of("card"),
    benchmark:
        benchmark_of("card")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/card.py"
