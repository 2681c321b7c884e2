# Whether the dataset is sound is written down first, so that the report can show what is wrong with it; `accept` makes
# the run fail only then. The target `verify` is both, so the rule of verify.py cannot have its name.
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
    params:
        **config["images"],
        split=SPLIT_RULE.settings,
        embeddings=ENCODER != "none",
        code=script_hash("verify"),
    threads: 16
    message:
        "verify every published file"
    log:
        log_of("verify"),
    benchmark:
        benchmark_of("verify")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/verify.py"


rule accept:
    input:
        quality=QUALITY,
        index=VERIFIED,
    output:
        accepted=ACCEPTED,
    message:
        "accept the dataset if every check passed"
    log:
        log_of("accept"),
    benchmark:
        benchmark_of("accept")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/accept.py"


rule verify:
    input:
        rules.dataset.input,
        QUALITY,
        VERIFIED,
        ACCEPTED,


# Everything that was made before: each file is read, and what is damaged is made again.
rule repair:
    input:
        existing_indexes,
