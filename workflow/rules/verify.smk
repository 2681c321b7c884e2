# Whether the dataset is sound is written down first, so that a report can show what is wrong with it; only then
# does `accept` make the run fail.
rule verify_dataset:
    input:
        manifest=MANIFEST,
        index=PUBLISHED,
    output:
        quality=report(
            QUALITY,
            caption="../report/captions/quality.rst",
            category="Dataset",
            labels={"file": "checks"},
        ),
        index=VERIFIED,
    log:
        out("work/logs/verify.log"),
    benchmark:
        out("work/benchmarks/verify.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    threads: 16
    params:
        **config["images"],
        unit=config["split"]["unit"],
        validation=config["split"]["validation"],
        stratify=config["split"]["stratify"],
        embeddings=ENCODER != "none",
        code=script_hash("verify"),
    message:
        "verify every published file"
    script:
        "../scripts/verify.py"


rule accept:
    input:
        quality=QUALITY,
        index=VERIFIED,
    output:
        accepted=ACCEPTED,
    log:
        out("work/logs/accept.log"),
    benchmark:
        out("work/benchmarks/accept.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    message:
        "accept the dataset if every check passed"
    script:
        "../scripts/accept.py"


rule verify:
    input:
        rules.dataset.input,
        QUALITY,
        VERIFIED,
        ACCEPTED,


# What was made before, if every file is read and what is damaged is made again.
rule repair:
    input:
        existing_indexes,
