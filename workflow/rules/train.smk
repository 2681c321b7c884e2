# From the dataset to a fine-tuned mask decoder; not part of `all`. What a run that was stopped has learned lies beside
# the model in `last.ckpt`, which is no declared output, so that the next run goes on with it.


rule train_model:
    input:
        manifest=trainable_manifest,
        index=PUBLISHED,
        accepted=ACCEPTED,
        checkpoint=ancient(checkpoint),
    output:
        model=MODEL,
        index=TRAINED,
    log:
        out("work/logs/train.log"),
    benchmark:
        out("work/benchmarks/train.tsv")
    conda:
        "../../envs/train.yaml"
    threads: embed_threads
    resources:
        gpu=1,
    params:
        **config["train"],
        weights=checkpoint_digest,
        code=script_hash("train"),
    message:
        "fine-tune the mask decoder of {input.checkpoint}"
    script:
        "../scripts/train.py"


rule train:
    input:
        rules.verify.input,
        MODEL,
        TRAINED,
