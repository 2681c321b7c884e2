# From the dataset to a fine-tuned mask decoder; not part of `all`. What a run that was stopped has learned lies beside
# the model in `last.ckpt`, which is no declared output, so that the next run goes on with it.
from acdc_medsam.split import validation_count

TRAINED = out(f"training/{ENCODER}/trained.tsv")


def trainable_manifest(wildcards):
    """The manifest, or a refusal before any job runs where no epoch could be told from another."""
    share, unit = config["split"]["validation"], config["split"]["unit"]
    training = sum(patient.subset == "training" for patient in PATIENTS.values())
    # How many slices there will be is not known yet, but a patient has more than one.
    if not validation_count(training if unit == "patient" else 2 * training, share):
        refuse(
            "training needs slices of 'val' to choose its best epoch by, and there will be none: "
            f"split.validation is {share}, and there are {training} training patients.",
            "Set split.validation in config.yaml, to 0.2 for example; at least two training patients are needed.",
        )
    return MANIFEST


rule fine_tune:
    input:
        manifest=trainable_manifest,
        index=PUBLISHED,
        accepted=ACCEPTED,
        checkpoint=checkpoint,
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
