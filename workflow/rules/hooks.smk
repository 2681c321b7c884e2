# What a run does before its first job and after its last one.
from acdc_medsam.acdc.cohort import count_raw_slices
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.runtime import start
from acdc_medsam.runtime.stopping import SignalStop

# A job of a cluster reads this file too, while others are at work; so may a dry run.
if workflow.is_main_process:
    snakemake_workarounds.submit_without_waiting(sys.modules.get("snakemake_executor_plugin_slurm"))
    OUTSIDE.look(SOURCES)
    with refusals():
        requirements.require_past_times(SOURCES)
    slices = count_raw_slices(PATIENTS.values())
    logger.info(start.describe_run(RAW_KIND, len(PATIENTS), slices, len(of_batches(EMBEDDINGS)), ENCODER))
    for problem in LEFT_OUT:
        logger.warning(f"left out: {problem}")


onstart:
    with refusals():
        if snakemake_workarounds.is_planned(workflow.dag, "positional_encoding"):
            requirements.require_usable_weights(ENCODER, CHECKPOINT, config["encoder"]["sha256"])
        folders = [
            Path(out("work")),
            *Path(config["output"]).glob(f"{NAME}_*"),
            Path(out("data")),
            Path(out("training")),
        ]
        start.claim_output(RUN_LOCK, REPAIRS, folders, logger)
    snakemake_workarounds.remove_rate_limit(workflow.scheduler)
    SignalStop(lambda: logger.error("stopping; the same command goes on from here")).install()


onsuccess:
    result = start.describe_result(Path(MANIFEST), Path(REPORT))
    if result:
        logger.info(result)
    RUN_LOCK.end()
