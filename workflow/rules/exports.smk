# The dataset in other layouts; none is part of `all`. Each is made of an accepted dataset only.
rule export_nnunet:
    input:
        manifest=MANIFEST,
        volumes=ancient(raw_volumes),
        accepted=ACCEPTED,
    output:
        index=EXPORTS["nnunet"],
    log:
        out("work/logs/exports/nnunet.log"),
    benchmark:
        out("work/benchmarks/exports/nnunet.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        folder=out("data/exports/nnunet/Dataset027_ACDC"),
        volumes=raw_digests,
        code=script_hash("export_nnunet"),
    message:
        "export for nnU-Net"
    script:
        "../scripts/export_nnunet.py"


rule nnunet:
    input:
        rules.verify.input,
        EXPORTS["nnunet"],


rule export_webdataset:
    input:
        manifest=MANIFEST,
        index=PUBLISHED,
        accepted=ACCEPTED,
    output:
        index=EXPORTS["webdataset"],
    log:
        out("work/logs/exports/webdataset.log"),
    benchmark:
        out("work/benchmarks/exports/webdataset.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        folder=out("data/exports/webdataset"),
        seed=config["split"]["seed"],
        code=script_hash("export_webdataset"),
    message:
        "export shards for webdataset"
    script:
        "../scripts/export_webdataset.py"


rule webdataset:
    input:
        rules.verify.input,
        EXPORTS["webdataset"],


rule export_lists:
    input:
        manifest=MANIFEST,
        index=PUBLISHED,
        accepted=ACCEPTED,
    output:
        index=EXPORTS["lists"],
    log:
        out("work/logs/exports/lists.log"),
    benchmark:
        out("work/benchmarks/exports/lists.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        folder=out("data/exports/lists"),
        link=config["publish"]["link"],
        seed=config["split"]["seed"],
        code=script_hash("export_lists"),
    message:
        "export lists for SSL4MIS"
    script:
        "../scripts/export_lists.py"


rule lists:
    input:
        rules.verify.input,
        EXPORTS["lists"],


rule export_structures:
    input:
        manifest=MANIFEST,
        index=PUBLISHED,
        accepted=ACCEPTED,
    output:
        index=EXPORTS["structures"],
    log:
        out("work/logs/exports/structures.log"),
    benchmark:
        out("work/benchmarks/exports/structures.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        folder=out("data/exports/structures"),
        link=config["publish"]["link"],
        code=script_hash("export_structures"),
    message:
        "export a dataset per structure"
    script:
        "../scripts/export_structures.py"


rule structures:
    input:
        rules.verify.input,
        EXPORTS["structures"],
