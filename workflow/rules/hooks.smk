# What a run does before its first job and after its last one. Snakemake runs such hooks of the main workflow alone.
from acdc_medsam.acdc.cohort import count_raw_slices
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.runtime.stopping import SignalStop

# A job of a cluster reads this file too, while others are at work; so may a dry run.
if workflow.is_main_process:
    snakemake_workarounds.submit_without_waiting(sys.modules.get("snakemake_executor_plugin_slurm"))
    OUTSIDE.look(SOURCES)
    refusals()(requirements.require_past_times)(SOURCES)
    slices = count_raw_slices(PATIENTS.values())
    summary = start.describe_run(RAW_KIND, len(PATIENTS), slices, len(of_batches(EMBEDDINGS)), ENCODER)
    logger.info(summary, extra=start.ON_SCREEN)
    for problem in LEFT_OUT:
        logger.warning(f"left out: {problem}")


def prepare_run():
    """Before the first job: check the weights, take the lock of the output folder, and tidy up."""
    with refusals():
        if snakemake_workarounds.is_planned(workflow.dag, ENCODING):
            requirements.require_usable_weights(ENCODER, CHECKPOINT, config["encoder"]["sha256"])
        folders = [*map(Path, map(out, ("work", "data", "training", "predictions"))), *Path(out("")).glob(f"{NAME}_*")]
        start.claim_output(RUN_LOCK, REPAIRS, folders, logger)
    snakemake_workarounds.remove_rate_limit(workflow.scheduler)
    SignalStop(lambda: logger.error("stopping; the same command goes on from here", extra=start.STOPPING)).install()


finish_run = partial(start.release_output, RUN_LOCK, Path(MANIFEST), Path(REPORT), logger)

if snakemake_workarounds.is_module(workflow.modifier):
    snakemake_workarounds.run_hooks_of_module(workflow, out(""), prepare_run, finish_run)
else:

    onstart:
        prepare_run()

    onsuccess:
        finish_run()
