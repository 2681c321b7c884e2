import os
from pathlib import Path

from snakemake.logging import logger

# Rules find the package without its being installed, as the scripts do.
sys.path.insert(0, f"{workflow.basedir}/workflow/scripts")

from acdc_medsam.runtime import code_hash as code
from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.config import check_config, load_schema
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import AcdcError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.runtime.outside import OutsideFiles
from acdc_medsam.layout import DATASET

code.put_own_code_first()


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
    for name in cohort.unknown if workflow.is_main_process else ():
        logger.warning(f"exclude: there is no {name} in {config['raw']} to leave out")
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
ENCODING_INDEX = out(f"work/embeddings/{ENCODER}/positional_encoding.tsv")
MEASURES = out("work/measures/index.tsv")
SPLIT = out("work/split.tsv")
PUBLISHED = out("work/published.tsv")
VERIFIED = out("work/verified.tsv")
ACCEPTED = out("work/accepted.tsv")
MANIFEST = out(DATASET / "manifest.tsv")
QUALITY = out(DATASET / "quality.json")
REPORT = out(DATASET / "report.html")
REPORT_INDEX = out("work/report.tsv")
CARD = out(DATASET / "README.md")
CROISSANT = out(DATASET / "croissant.json")
CARD_INDEX = out("work/card.tsv")
PROVENANCE = out(DATASET / "provenance.json")
PROVENANCE_INDEX = out("work/provenance.tsv")
MODEL = out(f"training/{ENCODER}/model.pth")
METRICS = out(f"training/{ENCODER}/metrics.json")
EVALUATED = out(f"training/{ENCODER}/evaluated.tsv")
EXPORTS = {name: out(f"work/exports/{name}.tsv") for name in ("nnunet", "webdataset", "lists", "structures")}


def of_patients(pattern, patients=tuple(PATIENTS)):
    return expand(pattern, patient=patients)


def of_batches(pattern):
    return [] if ENCODER == "none" else expand(pattern, batch=BATCHES)


OUTSIDE = OutsideFiles(Path(out("work/outside.json")))


def patient_sources(wildcards):
    """Info.cfg, then images and labels of the two frames."""
    if wildcards.patient not in PATIENTS:
        refuse(f"{wildcards.patient} is not in {config['raw']}, or is left out")
    # Every plan asks for the raw files of some patient first, which makes this the place to look for damage.
    plan_repairs()
    return [str(path) for path in PATIENTS[wildcards.patient].sources]


def patient_digests(wildcards):
    """Name -> sha256 of a patient's raw files: other content re-runs the patient's jobs, another time does not."""
    return {path.name: OUTSIDE.sha256(path) for path in PATIENTS[wildcards.patient].sources}


def raw_volumes(wildcards):
    """Raw images and labels of all patients."""
    return [str(path) for patient in PATIENTS.values() for path in patient.sources if path.name != "Info.cfg"]


def raw_digests(wildcards):
    """Path -> sha256 of raw_volumes."""
    return {path: OUTSIDE.sha256(Path(path)) for path in raw_volumes(wildcards)}


def batch_slices(wildcards):
    return of_patients(SLICES, BATCHES[wildcards.batch])


def embed_threads(wildcards):
    """Share the cores among as many embedding jobs as `--resources gpu=N` allows; without it, one takes all."""
    cores, gpus = workflow.resource_settings.cores or 16, workflow.global_resources.get("gpu")
    # A number in some versions of Snakemake, an object that holds one in others.
    gpus = getattr(gpus, "value", gpus)
    return min(16, max(1, cores // gpus)) if gpus else cores


def checkpoint(wildcards):
    """The encoder's weights, or an error before any job runs that says where they are to be had."""
    if ENCODER == "none":
        refuse("training needs embeddings: set encoder.name in config.yaml to something else than none")
    path = config["encoder"]["checkpoint"]
    if not Path(path).is_file() and not config["encoder"]["url"]:
        refuse(
            f"no checkpoint for {ENCODER}: looked for {path}. Get it from {ENCODERS[ENCODER].published_at}.",
            "Put it there, or set encoder.checkpoint or encoder.url in config.yaml.",
            "The targets 'images' and 'slices' need no checkpoint, and 'encoder: {name: none}' makes the whole "
            "dataset without embeddings.",
        )
    return path


def checkpoint_digest(wildcards):
    """Sha256 of the encoder's weights; None where they are to be downloaded, after which Snakemake asks again."""
    path = Path(config["encoder"]["checkpoint"])
    return OUTSIDE.sha256(path) if path.is_file() else None
