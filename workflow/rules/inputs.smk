# Functions for inputs, params and threads of rules: what depends on wildcards, or may be refused before any job runs.
from acdc_medsam.runtime.repairs import Repairs
from acdc_medsam.runtime.run_lock import RunLock
from acdc_medsam.stages.split import plan_split
from acdc_medsam.train.requirements import require_budget, require_validation_slices, require_whole_patients
from acdc_medsam.verify.checks import has_passed

RUN_LOCK = RunLock(Path(out("")))
REPAIRS = Repairs(Path(out("")), OUTSIDE, RUN_LOCK, logger)


def recorded_indexes():
    """Every index of this configuration that exists: each says what some job has made."""
    indexes = (
        of_patients(H5_INDEX)
        + of_patients(PNG_INDEX)
        + of_batches(EMBEDDINGS)
        + [ENCODING_INDEX, MEASURES, PUBLISHED, VERIFIED, ACCEPTED, REPORT_INDEX, CARD_INDEX, PROVENANCE_INDEX]
        + [TRAINED, EVALUATED, *BENCHMARK_INDEXES, *expand(EXPORT_INDEX, layout=LAYOUTS), *prediction_indexes()]
    )
    return [path for path in indexes if os.path.exists(path)]


def plan_repairs(read_all=False):
    """Run the jobs of this plan again whose files are no longer as they were made."""
    if not workflow.is_main_process or not REPAIRS.is_due(read_all):
        return
    indexes = [Path(path) for path in recorded_indexes()]
    again = REPAIRS.plan(indexes, read_all=read_all, left_out=config["on_invalid"] == "stop")
    if os.path.exists(VERIFIED) and not has_passed(Path(QUALITY)):
        again.append(Path(VERIFIED))
    snakemake_workarounds.make_again(workflow.dag, again)
    # Here and not when the run starts: one that has nothing to do does not start.
    if workflow.executor_plugin is not None and not workflow.dryrun:
        REPAIRS.remember()


def existing_indexes(wildcards):
    """What `repair` asks for: all that was made before, each file read to see whether it is still that."""
    plan_repairs(read_all=True)
    return recorded_indexes()


@refusals()
def patient_sources(wildcards):
    """Info.cfg, then images and labels of the two frames; or the H5 files of the two frames."""
    requirements.require_patient(wildcards.patient, PATIENTS, Path(config["raw"]))
    # Every plan asks for the raw files of some patient first, which makes this the place to look for damage.
    plan_repairs()
    return [local(str(path)) for path in PATIENTS[wildcards.patient].sources]


def patient_digests(wildcards):
    """Name -> sha256 of a patient's raw files: other content re-runs the patient's jobs, another time does not."""
    return {path.name: OUTSIDE.sha256(path) for path in PATIENTS[wildcards.patient].sources}


def patient_facts(wildcards):
    """What patients.tsv says about a patient."""
    return PATIENTS[wildcards.patient].facts


def patient_subset(wildcards):
    return PATIENTS[wildcards.patient].subset


def batch_slices(wildcards):
    return of_patients(SLICES, BATCHES[wildcards.batch])


def embed_threads(wildcards):
    """Share the cores among as many embedding jobs as `--resources gpu=N` allows; without it, one takes all."""
    cores = workflow.resource_settings.cores or 16
    gpus = snakemake_workarounds.resource_limit(workflow.global_resources.get("gpu"))
    return min(16, max(1, cores // gpus)) if gpus else cores


def all_cores_but_one(wildcards):
    """Leave a core to a short job that is ready at the same time; at most 16."""
    return min(16, max(1, (workflow.resource_settings.cores or 17) - 1))


@refusals()
def checkpoint(wildcards):
    """The encoder's weights, or an error before any job runs that says where they are to be had."""
    published_at = "" if ENCODER == "none" else ENCODERS[ENCODER].published_at
    requirements.require_checkpoint(ENCODER, CHECKPOINT, config["encoder"]["url"], published_at)
    return local(str(CHECKPOINT))


def checkpoint_digest(wildcards):
    """Sha256 of the encoder's weights; None where they are to be downloaded, after which Snakemake asks again."""
    return OUTSIDE.sha256(CHECKPOINT) if CHECKPOINT.is_file() else None


@refusals()
def split_file(wildcards):
    """The table of splits, if there is one, or an error before any job runs if some patient would be in no split."""
    if not PATIENTS:
        find_cohort(Path(config["raw"]), output=Path(out("")))  # says what is missing
    plan_split(SPLIT_RULE, SPLIT_FILE, SUBSETS, KNOWN_PATIENTS)
    return [] if SPLIT_FILE is None else local(str(SPLIT_FILE))


@refusals()
def trainable_manifest(wildcards):
    """The manifest, or an error before any job runs if no epoch could be told from another."""
    patients = list(SUBSETS.values()).count("training")
    splits = plan_split(SPLIT_RULE, SPLIT_FILE, SUBSETS, KNOWN_PATIENTS)
    require_validation_slices(SPLIT_RULE, patients, set(splits.values()))
    require_budget(SPLIT_RULE, patients, splits.values(), config["train"]["patients"])
    return MANIFEST


@refusals()
def measurable_manifest(wildcards):
    """The manifest, or an error before any job runs if no validation patient could be measured whole."""
    require_whole_patients(config["split"]["unit"])
    return MANIFEST
