PAGE = PROJECT / "workflow/report/page"


# The job draws again only what its last report did not show: it keeps the pieces of the page beside its index, in
# report_pieces.json. They are no output, because Snakemake would remove them before the job.
#
# The target `report` asks for more than this job, so the job's rule cannot have its name.
rule write_report:
    input:
        manifest=MANIFEST,
        quality=QUALITY,
        measures=MEASURES,
        published=PUBLISHED,
        embeddings=of_batches(EMBEDDINGS),
        template=str(PAGE / "page.html.j2"),
        parts=sorted(str(path) for path in PAGE.glob("[!.]*")),
    output:
        report=report(
            REPORT,
            caption="../report/captions/report.rst",
            category="Dataset",
            labels={"file": "report"},
        ),
        index=REPORT_INDEX,
    params:
        benchmarks=out("work/benchmarks"),
        settings={
            "encoder": ENCODER,
            "precision": config["encoder"]["precision"],
            **config["split"],
        },
        # Not inputs: a report never asks for a model to be trained, but it is written again for new metrics.
        metrics=METRICS,
        metrics_sha256=sha256_file(Path(METRICS)) if os.path.isfile(METRICS) else None,
        code=script_hash("report"),
    threads: 16
    # Written before `accept` may stop the run, so that a dataset that failed has its report.
    priority: 1
    message:
        "write the report"
    log:
        log_of("report"),
    benchmark:
        benchmark_of("report")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/report.py"


rule report:
    input:
        rules.verify.input,
        MEASURES,
        REPORT,
        REPORT_INDEX,
