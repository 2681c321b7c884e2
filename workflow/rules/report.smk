PAGE = Path(workflow.basedir, "workflow/report/page")


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
    log:
        out("work/logs/report.log"),
    benchmark:
        out("work/benchmarks/report.tsv")
    # Drawn before `accept` may stop the run, so that a dataset that failed has its report.
    priority: 1
    conda:
        "../../envs/acdc-medsam.yaml"
    threads: 16
    params:
        benchmarks=out("work/benchmarks"),
        settings={
            "encoder": ENCODER,
            "precision": config["encoder"]["precision"],
            **config["split"],
        },
        # Not inputs: a report never asks for a model to be trained. New metrics have it written again.
        metrics=METRICS,
        metrics_sha256=sha256_file(Path(METRICS)) if os.path.isfile(METRICS) else None,
        code=script_hash("report"),
    message:
        "write the report"
    script:
        "../scripts/report.py"


rule report:
    input:
        rules.verify.input,
        MEASURES,
        REPORT,
        REPORT_INDEX,
