# The dataset in other layouts, made from an accepted dataset only; none is part of `all`.
include: "export_inputs.smk"


rule export:
    input:
        manifest=exportable_manifest,
        index=PUBLISHED,
        raw=ancient(export_raw_files),
        accepted=ACCEPTED,
    output:
        index=EXPORT_INDEX,
    params:
        folder=export_folder,
        options=export_options,
        message=export_message,
        code=export_code,
    message:
        "{params.message}"
    log:
        log_of("exports/{layout}"),
    benchmark:
        benchmark_of("exports/{layout}")
    conda:
        "../../envs/acdc-medsam.yaml"
    script:
        "../scripts/export.py"


# A target for each layout, such as `nnunet`.
for layout in LAYOUTS:

    rule:
        name:
            layout
        input:
            rules.verify.input,
            expand(EXPORT_INDEX, layout=layout),
