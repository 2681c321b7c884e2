# What a run does before its first job and after its last.
import errno
import importlib.util
import subprocess
import time

from acdc_medsam.verify.checks import has_passed
from acdc_medsam.acdc.cohort import count_slices
from acdc_medsam.formats.index import check_indexes, remove_damaged, write_times
from acdc_medsam.errors import describe_os_error
from acdc_medsam.runtime.run_lock import RunLock, remove_temporary_files
from acdc_medsam.runtime.stopping import SignalStop

EMBEDDING_MIB = 4
SHOWN = 5
"""Damaged files that are named; all of them are made again."""
RUN_LOCK = RunLock(Path(config["output"]))

FINDINGS = {}
"""What plan_repairs found: by False if it went by sizes and times, by True if it read every file."""


def recorded_indexes():
    """Every index of this configuration that is there: each says what some job has made."""
    indexes = (
        of_patients(H5_INDEX)
        + of_patients(PNG_INDEX)
        + of_batches(EMBEDDINGS)
        + [ENCODING_INDEX, MEASURES, PUBLISHED, VERIFIED, ACCEPTED, REPORT_INDEX, CARD_INDEX, PROVENANCE_INDEX]
        + [TRAINED, EVALUATED, *EXPORTS.values()]
    )
    return [path for path in indexes if os.path.exists(path)]


def plan_repairs(read_all=False):
    """Have every job of this plan run whose files are no longer what it made.

    Snakemake looks at the times of declared outputs alone. Nothing is changed here, so that a dry run shows what would
    be done; `mend` removes what is damaged when the run starts.
    """
    if True in FINDINGS or read_all in FINDINGS or not workflow.is_main_process or not RUN_LOCK.is_free():
        return
    found = FINDINGS[read_all] = check_indexes(
        indexes=map(Path, recorded_indexes()), tables=[Path(SPLIT)], root=Path(config["output"]), read_all=read_all
    )
    for file, reason in list(found.files.items())[:SHOWN]:
        logger.warning(f"{file} {reason}: it is made again when it is asked for")
    if len(found.files) > SHOWN:
        logger.warning(f"and {len(found.files) - SHOWN} more files")
    again = [*found.damaged, *(found.left_out if config["on_invalid"] == "stop" else [])]
    if os.path.exists(VERIFIED) and not has_passed(Path(QUALITY)):
        again.append(VERIFIED)
    # The public way, --forcerun, would make targets of these.
    workflow.dag.forcefiles.update(map(str, again))
    # Here and not when the run starts: one that has nothing to do does not start.
    if workflow.executor_plugin is not None and not workflow.dryrun:
        remember(found)


def remember(found):
    """Write down what was read, so that the next run need not read it again."""
    work = out("work")
    try:
        if os.path.isdir(work) and not os.access(work, os.W_OK):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), work)
        for index, times in found.times.items():
            write_times(index, times)
        if os.path.isdir(work):
            OUTSIDE.save()
    except OSError as error:
        # No reason to stop: there may be nothing else to write.
        logger.warning(describe_os_error(error))


def mend():
    """Remove what is damaged, under all its names."""
    for found in FINDINGS.values():
        remove_damaged(found)
    OUTSIDE.save()


def existing_indexes(wildcards):
    """What `repair` asks for: all that was made before, each file read to see whether it is still that."""
    plan_repairs(read_all=True)
    return recorded_indexes()


def check_clock():
    """Stop at raw files from the future: Snakemake takes what is made of them for older, and fails after each job."""
    sources = [path for patient in PATIENTS.values() for path in patient.sources]
    late = [path for path in sources if path.exists() and path.stat().st_mtime > time.time() + 60]
    if late:
        refuse(
            f"{late[0]} and {len(late) - 1} other raw files were changed in the future, by this machine's clock.",
            "Set the clock right, or `touch` these files, and run the same command again.",
        )


def introduce():
    """Say in one line what is about to be made."""
    slices = count_slices(PATIENTS.values())
    jobs = 2 * len(PATIENTS) + len(of_batches(EMBEDDINGS)) + 9
    disk = f"up to {slices * EMBEDDING_MIB / 1024:.1f} GiB of embeddings by {ENCODER}"
    logger.info(
        f"ACDC to MedSAM: {len(PATIENTS)} patients, {2 * len(PATIENTS)} volumes, {slices} slices; "
        f"at most {jobs} jobs; {'no embeddings' if ENCODER == 'none' else disk}"
    )
    for problem in LEFT_OUT:
        logger.warning(f"left out: {problem}")


def check_weights():
    """Refuse a checkpoint that cannot be used before any job runs, if it is to be read for the first time.

    In a process of its own, because importing torch would keep memory for the whole run. Where torch is in the jobs'
    environment alone, the first job that reads the checkpoint says what is wrong with it.
    """
    path, sha256 = config["encoder"]["checkpoint"], config["encoder"]["sha256"]
    new = any(job.rule.name == "positional_encoding" for job in workflow.dag.needrun_jobs())
    if workflow.is_main_process and new and os.path.exists(path) and importlib.util.find_spec("torch"):
        command = [sys.executable, "-m", "acdc_medsam", "weights", ENCODER, path]
        command += ["--sha256", sha256] if sha256 else []
        process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if process.returncode and process.stdout:
            refuse(process.stdout.strip())


def announce():
    """Say where the dataset is, once it is there."""
    if all(map(os.path.exists, (MANIFEST, REPORT))):
        slices = len(Path(MANIFEST).read_text().splitlines()) - 1
        logger.info(f"{slices} slices in {os.path.dirname(MANIFEST)}; report: {REPORT}")


def hold_no_job_back():
    """Have the Slurm plugin submit the jobs that it is given, be it one or an array, without waiting for more.

    For rules of `slurm-array-jobs` version 2.8 waits while more are ready than it is given, as with `--jobs 50` or
    `--scheduler-subsample`. It is never given the held ones again, and the run does not end.
    """

    def no_others(dag, name):
        return 0

    plugin = sys.modules.get("snakemake_executor_plugin_slurm")
    if plugin:
        plugin.pending_jobs_for_rule = no_others


def limit_no_rate():
    """Start jobs as soon as there is room for them, be it more than 100 a second.

    For its limit of jobs per time Snakemake 9.27 starts one timer a second for each job that has run before, so each
    job would cost more than the one before it, and no option says that there is no limit.
    """
    workflow.scheduler.job_rate_limiter = None


def claim_output():
    """Refuse a second run on the same output, tidy up after one that was killed, and remove what is damaged."""
    try:
        RUN_LOCK.hold()
        mend()
    except AcdcError as error:
        refuse(str(error))
    except OSError as error:
        refuse(describe_os_error(error))
    if RUN_LOCK.after_failure:
        folders = [Path(out("work")), *Path(config["output"]).glob("ACDC_*"), Path(out("data")), Path(out("training"))]
        removed = remove_temporary_files(folders)
        if removed:
            logger.info(f"removed {removed} files that an earlier run left half-written")


# A job of a cluster reads this file too, while others are at work; so may a dry run.
if workflow.is_main_process:
    hold_no_job_back()
    OUTSIDE.look(path for patient in PATIENTS.values() for path in patient.sources)
    check_clock()
    introduce()


onstart:
    check_weights()
    claim_output()
    limit_no_rate()
    SignalStop(lambda: logger.error("stopping; the same command goes on from here")).install()


onsuccess:
    announce()
    RUN_LOCK.end()
