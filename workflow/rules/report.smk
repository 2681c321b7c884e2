rule write_report:
    input:
        manifest=MANIFEST,
        quality=QUALITY,
        template=workflow.source_path("../report/report.html.j2"),
    output:
        report=REPORT,
    log:
        out("work/logs/report.log"),
    benchmark:
        out("work/benchmarks/report.tsv")
    # Drawn before `accept` may stop the run, so that a dataset that failed has its report.
    priority: 1
    conda:
        "../../envs/acdc-medsam.yaml"
    params:
        settings={
            "encoder": ENCODER,
            "precision": config["encoder"]["precision"],
            **config["split"],
        },
        code=script_hash("report"),
    message:
        "write the report"
    script:
        "../scripts/report.py"


rule report:
    input:
        rules.verify.input,
        REPORT,
