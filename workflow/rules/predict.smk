# Masks, measurements and a report of scans that are in no dataset; not part of `all`. A scan that cannot be used does not
# stop the others: the report lists it, and only then does the run fail. The target `predict` asks for more than one job,
# so no rule of a job can have its name.
include: "predict_inputs.smk"


rule prepare_scan:
    input:
        ancient(scan_sources),
    output:
        index=PREPARED,
    params:
        subject=scan_subject,
        percentile=scan_percentile,
        sources=scan_digests,
        code=script_hash("prepare_scan"),
    message:
        "prepare {wildcards.scan}"
    log:
        log_of("prepare_scan/{scan}"),
    benchmark:
        benchmark_of("prepare_scan/{scan}")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/prepare_scan.py"


# The masks are no declared outputs, which Snakemake would remove before the job: so the job finds those that are done.
rule segment_scans:
    input:
        prepared=part_scans,
        model=scan_model,
    output:
        index=SEGMENTED,
    params:
        output=PREDICTIONS,
        encoder=ENCODER if ENCODER in ENCODERS else None,
        model=scan_model_digests,
        code=script_hash("segment_scans"),
    threads: embed_threads
    resources:
        gpu=1,
    message:
        "segment scans, part {wildcards.part}"
    log:
        log_of("segment_scans/{part}"),
    benchmark:
        benchmark_of("segment_scans/{part}")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/segment_scans.py"


rule predict_report:
    input:
        prepared=prepared_scans,
        segmented=segmented_scans,
        model=scan_model,
        template=str(PAGE / "predictions_page.html.j2"),
        parts=sorted(str(path) for path in PAGE.glob("[!.]*")),
    output:
        index=PREDICT_REPORT,
    params:
        output=PREDICTIONS,
        unusable=unusable_scans,
        encoder=ENCODER if ENCODER in ENCODERS else None,
        model=scan_model_digests,
        code=script_hash("predict_report"),
    threads: 16
    message:
        "measure and report the segmented scans"
    log:
        log_of("predict_report"),
    benchmark:
        benchmark_of("predict_report")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/predict_report.py"


rule accept_predictions:
    input:
        index=PREDICT_REPORT,
    output:
        accepted=PREDICT_ACCEPTED,
    params:
        on_invalid=config["on_invalid"],
        code=script_hash("accept_predictions"),
    message:
        "accept the predictions if every scan could be segmented"
    log:
        log_of("accept_predictions"),
    benchmark:
        benchmark_of("accept_predictions")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/accept_predictions.py"


rule predict:
    input:
        PREDICT_REPORT,
        PREDICT_ACCEPTED,
