# What a run does before its first job and after its last.
import importlib.util
import signal
import subprocess
import time

import psutil

from acdc_medsam.checks import has_passed
from acdc_medsam.cohort import count_slices
from acdc_medsam.files import index_is_true, read_index_comments
from acdc_medsam.jobs import describe
from acdc_medsam.run_lock import RunLock, remove_temporary_files

EMBEDDING_MIB = 4
RUN_LOCK = RunLock(Path(config["output"]))


def forget_untrue_indexes():
    """Remove each index that names a file which has gone or changed its size, so that it is made again.

    Snakemake looks at the index alone, not at the files that it lists. Every target asks for the indexes of all
    stages before it, because Snakemake makes a missing file again only if a target or a job asks for it.
    """
    left_out = config["on_invalid"] == "exclude"
    indexes = (
        of_patients(H5_INDEX)
        + of_patients(PNG_INDEX)
        + of_batches(EMBEDDINGS)
        + [MEASURES, PUBLISHED, VERIFIED, EVALUATED, *EXPORTS.values()]
    )
    for index in filter(os.path.exists, indexes):
        if not index_is_true(Path(index)) or (not left_out and read_index_comments(Path(index)).left_out):
            logger.warning(f"{index}: files that it lists have gone or changed; they are made again when asked for")
            os.remove(index)
    if os.path.exists(VERIFIED) and not has_passed(Path(QUALITY)):
        os.remove(VERIFIED)


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
    """Refuse a second run on the same output, and tidy up after one that was killed."""
    try:
        RUN_LOCK.hold()
    except AcdcError as error:
        refuse(str(error))
    except OSError as error:
        refuse(describe(error))
    if RUN_LOCK.after_failure:
        folders = [Path(out("work")), *Path(config["output"]).glob("ACDC_*"), Path(out("data")), Path(out("training"))]
        removed = remove_temporary_files(folders)
        if removed:
            logger.info(f"removed {removed} files that an earlier run left half-written")


def stop_soon(signum, frame):
    """End the jobs of this machine and then the run: by itself Snakemake would wait for jobs that take hours."""
    logger.error("stopping; the same command goes on from here")
    for job in psutil.Process().children(recursive=True):
        job.terminate()
    raise KeyboardInterrupt


# A job of a cluster reads this file too, while others are at work; so may a dry run.
if workflow.is_main_process:
    hold_no_job_back()
    try:
        if os.path.isdir(out("work")) and RUN_LOCK.try_acquire():
            forget_untrue_indexes()
            RUN_LOCK.release()
    except OSError as error:
        refuse(describe(error))
    check_clock()
    introduce()


onstart:
    check_weights()
    claim_output()
    limit_no_rate()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop_soon)


onsuccess:
    announce()
    RUN_LOCK.end()
