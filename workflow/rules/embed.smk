rule embed:
    input:
        tables=batch_slices,
        checkpoint=ancient(checkpoint),
    output:
        table=EMBEDDINGS,
    log:
        out("work/logs/embed/{batch}.log"),
    benchmark:
        out("work/benchmarks/embed/{batch}.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    threads: embed_threads
    resources:
        gpu=1,
    params:
        name=ENCODER,
        sha256=config["encoder"]["sha256"],
        weights=checkpoint_digest,
        precision=config["encoder"]["precision"],
        code=script_hash("embed"),
    message:
        "embed {wildcards.batch} with {params.name}"
    script:
        "../scripts/embed.py"


rule positional_encoding:
    input:
        checkpoint=ancient(checkpoint),
    output:
        encoding=ENCODING,
        index=ENCODING_INDEX,
    log:
        out("work/logs/positional_encoding.log"),
    benchmark:
        out("work/benchmarks/positional_encoding.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        name=ENCODER,
        sha256=config["encoder"]["sha256"],
        weights=checkpoint_digest,
        code=script_hash("positional_encoding"),
    message:
        "write the positional encoding of {params.name}"
    script:
        "../scripts/positional_encoding.py"


if config["encoder"]["url"]:

    rule download_checkpoint:
        output:
            config["encoder"]["checkpoint"],
        log:
            out("work/logs/download_checkpoint.log"),
        benchmark:
            out("work/benchmarks/download_checkpoint.tsv")
        conda:
            "../../envs/acdc-medsam.yaml"
        params:
            url=config["encoder"]["url"],
            sha256=config["encoder"]["sha256"],
        message:
            "download {params.url}"
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
    log:
        out("work/logs/prune.log"),
    benchmark:
        out("work/benchmarks/prune.tsv")
    conda:
        "../../envs/acdc-medsam.yaml"
    message:
        "remove embeddings that no table names"
    script:
        "../scripts/prune.py"
