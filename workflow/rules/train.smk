# From the dataset to a fine-tuned mask decoder; not part of `all`. What a run that was stopped has learned is kept beside
# the model in `last.ckpt`, which is not a declared output, so that the next run goes on from there. The target `train`
# asks for more than this job, so the job's rule cannot have its name.


rule train_model:
    input:
        manifest=trainable_manifest,
        index=PUBLISHED,
        accepted=ACCEPTED,
        checkpoint=ancient(checkpoint),
    output:
        model=MODEL,
        index=TRAINED,
    params:
        **config["train"],
        percentile=config["normalize"]["percentile"],
        weights=checkpoint_digest,
        code=script_hash("train"),
    threads: embed_threads
    resources:
        gpu=1,
    message:
        "fine-tune the mask decoder of {input.checkpoint}"
    log:
        log_of("train"),
    benchmark:
        benchmark_of("train")
    conda:
        "../../envs/train.yaml"
    script:
        "../scripts/train.py"


rule train:
    input:
        rules.verify.input,
        MODEL,
        TRAINED,
