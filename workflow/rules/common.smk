import json
import os
from pathlib import Path

from snakemake.logging import logger

# Rules find the package without its being installed, as the scripts do.
sys.path.insert(0, f"{workflow.basedir}/workflow/scripts")

from acdc_medsam import code_hash as code
from acdc_medsam.cohort import count_slices, find_cohort
from acdc_medsam.config import check_config, load_schema
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import AcdcError
from acdc_medsam.files import index_is_true, read_index_comments
from acdc_medsam.publish import DATASET

EMBEDDING_MIB = 4


wildcard_constraints:
    patient=r"patient\d\d\d+",
    batch=r"p\d+-\d+",


def refuse(*lines):
    """Stop before anything runs, with a message alone: a WorkflowError would show lines of this file with it."""
    logger.error("\n".join(lines))
    sys.exit(1)


def load_config():
    """Validate the configuration, fill in its defaults, and find the cohort, or stop with one clear message."""
    schema = load_schema(Path(workflow.basedir, "workflow/schemas/config.schema.yaml"))
    try:
        config.update(check_config(config, schema))
        cohort = find_cohort(Path(config["raw"]), config["exclude"])
    except AcdcError as error:
        refuse(str(error))
    problems = [line for lines in cohort.problems.values() for line in lines]
    if problems and config["on_invalid"] == "stop":
        advice = "Mend these patients, list them under 'exclude', or set 'on_invalid: exclude' in config.yaml:"
        refuse(advice, *problems)
    if not cohort.patients:
        refuse(f"no patient in {config['raw']} can be used:", *problems)
    return {patient.name: patient for patient in cohort.patients}, problems


PATIENTS, LEFT_OUT = load_config()
ENCODER = config["encoder"]["name"]


def out(path):
    """Put a path below the configured output folder."""
    return os.path.normpath(os.path.join(config["output"], path))


def script_hash(stage):
    """Hash of the modules that a stage's script uses: Snakemake itself looks at the script alone."""
    return code.code_hash(Path(workflow.basedir, f"workflow/scripts/{stage}.py"))


def batch_of(patient):
    """Name of the fixed range of patient numbers that a patient is embedded with: p001-016."""
    width = config["encoder"]["patients_per_job"]
    first = (PATIENTS[patient].number - 1) // width * width + 1
    return f"p{first:03d}-{first + width - 1:03d}"


BATCHES = {}
for patient in PATIENTS:
    BATCHES.setdefault(batch_of(patient), []).append(patient)

H5_INDEX = out("work/h5/{patient}/index.tsv")
PNG_INDEX = out("work/png/{patient}/index.tsv")
SLICES = out("work/png/{patient}/slices.tsv")
EMBEDDINGS = out(f"work/embeddings/{ENCODER}/{{batch}}.tsv")
ENCODING = out(f"work/embeddings/{ENCODER}/pe.pt")
SPLIT = out("work/split.tsv")
PUBLISHED = out("work/published.tsv")
VERIFIED = out("work/verified.tsv")
ACCEPTED = out("work/accepted.txt")
MANIFEST = out(DATASET / "manifest.tsv")
QUALITY = out(DATASET / "quality.json")
REPORT = out(DATASET / "report.html")


def of_patients(pattern, patients=tuple(PATIENTS)):
    return expand(pattern, patient=patients)


def of_batches(pattern):
    return [] if ENCODER == "none" else expand(pattern, batch=BATCHES)


def patient_sources(wildcards):
    """Info.cfg, then images and labels of the two frames."""
    if wildcards.patient not in PATIENTS:
        refuse(f"{wildcards.patient} is not in {config['raw']}, or is left out")
    return [str(path) for path in PATIENTS[wildcards.patient].sources]


def batch_slices(wildcards):
    return of_patients(SLICES, BATCHES[wildcards.batch])


def checkpoint(wildcards):
    """The encoder's weights, or an error before any job runs that says where they are to be had."""
    path = config["encoder"]["checkpoint"]
    if not Path(path).is_file() and not config["encoder"]["url"]:
        refuse(
            f"no checkpoint for {ENCODER}: looked for {path}. Get it from {ENCODERS[ENCODER].published_at}.",
            "Put it there, or set encoder.checkpoint or encoder.url in config.yaml.",
            "The targets 'images' and 'slices' need no checkpoint, and 'encoder: {name: none}' makes the whole "
            "dataset without embeddings.",
        )
    return path


def forget_untrue_indexes():
    """Remove each index that names a file which has gone or changed its size, so that it is made again.

    Snakemake looks at the index alone, not at the files that it lists. Every target asks for the indexes of all
    stages before it, because Snakemake makes a missing file again only if a target or a job asks for it.
    """
    left_out = config["on_invalid"] == "exclude"
    indexes = of_patients(H5_INDEX) + of_patients(PNG_INDEX) + of_batches(EMBEDDINGS) + [PUBLISHED, VERIFIED]
    for index in filter(os.path.exists, indexes):
        if not index_is_true(Path(index)) or (not left_out and read_index_comments(Path(index)).left_out):
            logger.warning(f"{index}: files that it lists have gone or changed; they are made again")
            os.remove(index)
    if os.path.exists(VERIFIED) and not json.loads(Path(QUALITY).read_text())["passed"]:
        os.remove(VERIFIED)


def introduce():
    """Say in one line what is about to be made."""
    slices = count_slices(PATIENTS.values())
    jobs = 2 * len(PATIENTS) + len(of_batches(EMBEDDINGS)) + 6
    disk = f"up to {slices * EMBEDDING_MIB / 1024:.1f} GiB of embeddings by {ENCODER}"
    logger.info(
        f"ACDC to MedSAM: {len(PATIENTS)} patients, {2 * len(PATIENTS)} volumes, {slices} slices; "
        f"at most {jobs} jobs; {'no embeddings' if ENCODER == 'none' else disk}"
    )
    for problem in LEFT_OUT:
        logger.warning(f"left out: {problem}")


def announce():
    """Say where the dataset is, once it is there."""
    if all(map(os.path.exists, (MANIFEST, REPORT))):
        slices = len(Path(MANIFEST).read_text().splitlines()) - 1
        logger.info(f"{slices} slices in {os.path.dirname(MANIFEST)}; report: {REPORT}")


# A job of a cluster reads this file too, while others are at work.
if workflow.is_main_process:
    forget_untrue_indexes()
    introduce()
