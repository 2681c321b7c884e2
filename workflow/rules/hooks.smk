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
        if snakemake_workarounds.is_planned(workflow.dag, ENCODING):
            requirements.require_usable_weights(ENCODER, CHECKPOINT, config["encoder"]["sha256"])
        folders = [*map(Path, map(out, ("work", "data", "training"))), *Path(out("")).glob(f"{NAME}_*")]
        start.claim_output(RUN_LOCK, REPAIRS, folders, logger)
    snakemake_workarounds.remove_rate_limit(workflow.scheduler)
    SignalStop(lambda: logger.error("stopping; the same command goes on from here")).install()


onsuccess:
    result = start.describe_result(Path(MANIFEST), Path(REPORT))
    if result:
        logger.info(result)
    RUN_LOCK.end()


# Another workflow that has hooks of its own calls these in them, by the name that it gave to this workflow.
snakemake_workarounds.run_hooks_of_module(workflow, out(""), onstart, onsuccess)
