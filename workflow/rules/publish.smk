rule publish:
    input:
        h5=of_patients(H5_INDEX),
        png=of_patients(PNG_INDEX),
        slices=of_patients(SLICES),
        split=SPLIT,
        embeddings=of_batches(EMBEDDINGS),
        encoding=[] if ENCODER == "none" else ENCODING_INDEX,
    output:
        manifest=report(
            MANIFEST,
            caption="../report/captions/manifest.rst",
            category="Dataset",
            labels={"file": "manifest"},
        ),
        index=PUBLISHED,
    params:
        subsets=SUBSETS,
        left_out=LEFT_OUT,
        link=config["publish"]["link"],
        code=script_hash("publish"),
    message:
        "publish the dataset"
    log:
        log_of("publish"),
    benchmark:
        benchmark_of("publish")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/publish.py"


rule dataset:
    input:
        rules.embeddings.input,
        MANIFEST,
        PUBLISHED,
