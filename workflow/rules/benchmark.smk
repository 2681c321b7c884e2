# A decoder is trained in each fold and measured on the patients that the fold holds out; not part of `all`. A fold is a
# table of patients over the published dataset, so all folds share its embeddings, and another split of the dataset leaves
# them as they are. The target `benchmark` asks for more than one job, so no rule of a job can have its name.
include: "benchmark_inputs.smk"


rule folds:
    input:
        manifest=divisible_manifest,
    output:
        tables=expand(FOLD_PATIENTS, fold=FOLDS),
        index=FOLDS_INDEX,
    params:
        folds=FOLDS,
        subsets=SUBSETS,
        split={key: config["split"][key] for key in ("scheme", "seed", "validation")},
        code=script_hash("folds"),
    message:
        "divide the patients into {params.folds}"
    log:
        log_of("folds"),
    benchmark:
        benchmark_of("folds")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/folds.py"


# The table of the fold has digests of all that is trained on, so a manifest that differs elsewhere re-runs nothing. Snakemake
# runs the job again whenever the table is written, even with the same content. The model is no declared output, which
# Snakemake would remove before the job: so the job finds it, sees that nothing has changed, and trains nothing.
rule train_fold:
    input:
        patients=FOLD_PATIENTS,
        manifest=ancient(MANIFEST),
        index=ancient(PUBLISHED),
        accepted=ancient(ACCEPTED),
        checkpoint=ancient(checkpoint),
    output:
        index=FOLD_TRAINED,
    params:
        **config["train"],
        percentile=config["normalize"]["percentile"],
        weights=checkpoint_digest,
        code=script_hash("train_fold"),
    threads: embed_threads
    resources:
        gpu=1,
    message:
        "fine-tune the mask decoder in {wildcards.fold}"
    log:
        log_of("train_fold/{fold}"),
    benchmark:
        benchmark_of("train_fold/{fold}")
    conda:
        "../../envs/train.yaml"
    script:
        "../scripts/train_fold.py"


rule evaluate_fold:
    input:
        trained=FOLD_TRAINED,
        patients=FOLD_PATIENTS,
        manifest=MANIFEST,
        index=PUBLISHED,
        checkpoint=ancient(checkpoint),
    output:
        index=FOLD_EVALUATED,
    params:
        weights=checkpoint_digest,
        code=script_hash("evaluate_fold"),
    threads: 16
    message:
        "evaluate the patients that {wildcards.fold} holds out"
    log:
        log_of("evaluate_fold/{fold}"),
    benchmark:
        benchmark_of("evaluate_fold/{fold}")
    conda:
        "../../envs/train.yaml"
    script:
        "../scripts/evaluate_fold.py"


rule write_benchmark:
    input:
        evaluated=expand(FOLD_EVALUATED, fold=FOLDS),
        template=str(PAGE / "benchmark_page.html.j2"),
        parts=sorted(str(path) for path in PAGE.glob("[!.]*")),
    output:
        table=BENCHMARK_TABLE,
        results=BENCHMARK_RESULTS,
        page=report(
            BENCHMARK_PAGE,
            caption="../report/captions/benchmark.rst",
            category="Benchmark",
            labels={"file": "benchmark"},
        ),
        index=BENCHMARK_INDEX,
    params:
        settings={
            "encoder": ENCODER,
            "precision": config["encoder"]["precision"],
            "scheme": config["split"]["scheme"],
            "seed": config["split"]["seed"],
            "validation": config["split"]["validation"],
            "folds": FOLDS,
        },
        code=script_hash("benchmark"),
    message:
        "write the benchmark"
    log:
        log_of("benchmark"),
    benchmark:
        benchmark_of("benchmark")
    conda:
        "../../envs/train.yaml"
    script:
        "../scripts/benchmark.py"


rule benchmark:
    input:
        rules.verify.input,
        BENCHMARK_INDEXES,
