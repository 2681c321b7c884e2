rule embed:
    input:
        tables=batch_slices,
        checkpoint=ancient(checkpoint),
    output:
        table=EMBEDDINGS,
    params:
        name=ENCODER,
        sha256=config["encoder"]["sha256"],
        weights=checkpoint_digest,
        precision=config["encoder"]["precision"],
        code=script_hash("embed"),
    threads: embed_threads
    resources:
        gpu=1,
    message:
        "embed {wildcards.batch} with {params.name}"
    log:
        log_of("embed/{batch}"),
    benchmark:
        benchmark_of("embed/{batch}")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/embed.py"


rule positional_encoding:
    input:
        checkpoint=ancient(checkpoint),
    output:
        encoding=ENCODING,
        index=ENCODING_INDEX,
    params:
        name=ENCODER,
        sha256=config["encoder"]["sha256"],
        weights=checkpoint_digest,
        code=script_hash("positional_encoding"),
    message:
        "write the positional encoding of {params.name}"
    log:
        log_of("positional_encoding"),
    benchmark:
        benchmark_of("positional_encoding")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/positional_encoding.py"


if config["encoder"]["url"]:

    rule download_checkpoint:
        output:
            local(str(CHECKPOINT)),
        params:
            url=config["encoder"]["url"],
            sha256=config["encoder"]["sha256"],
        message:
            "download {params.url}"
        log:
            log_of("download_checkpoint"),
        benchmark:
            benchmark_of("download_checkpoint")
        conda:
            "../../envs/acdc-medsam.yaml"
        script:
            "../scripts/download_checkpoint.py"


rule embeddings:
    input:
        rules.images.input,
        of_batches(EMBEDDINGS),
        [] if ENCODER == "none" else [ENCODING, ENCODING_INDEX],


rule prune:
    input:
        tables=of_batches(EMBEDDINGS),
    message:
        "remove embeddings that no table names"
    log:
        log_of("prune"),
    benchmark:
        benchmark_of("prune")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/prune.py"
