# Configuration, cohort and paths. Functions stand apart from rules: `snakemake --lint` asks for it.
import os
from functools import partial
from pathlib import Path

from snakemake.logging import logger

# A checkout's rules find its own package, as the scripts do, whether or not it is installed.
sys.path.insert(0, os.path.abspath(f"{workflow.current_basedir}/../scripts"))

from acdc_medsam.acdc.cohort import H5, NIFTI, find_cohort
from acdc_medsam.acdc.naming import PATIENT_PATTERN
from acdc_medsam.config import check_config, load_schema
from acdc_medsam.encoders.registry import ENCODERS, find_checkpoint_path
from acdc_medsam.exports.registry import LAYOUTS
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.layout import DATASET
from acdc_medsam.project import PROJECT
from acdc_medsam.runtime import requirements, snakemake_workarounds, start
from acdc_medsam.runtime.code_hash import code_hash
from acdc_medsam.runtime.outside import OutsideFiles
from acdc_medsam.stages.split_rule import SplitRule

start.collect_garbage_rarely()
snakemake_workarounds.put_own_code_first()
refusals = partial(snakemake_workarounds.show_message_alone, logger)
# Taken here, because later, when the functions of the rules are called, the modifier is that of the importing workflow.
below_prefix = workflow.modifier.modify_path


wildcard_constraints:
    patient=PATIENT_PATTERN.pattern,
    batch=r"p\d+-\d+",
    layout="|".join(LAYOUTS),
    fold=r"fold_\d+|test",
    scan=r"[A-Za-z0-9][\w.-]*",
    part=r"\d+-of-\d+",


def out(path):
    """Put a path below the configured output folder, and that below the prefix of a workflow that imports this one."""
    return below_prefix(os.path.normpath(os.path.join(config["output"], path)))


@refusals()
def load_config():
    """Validate the configuration, fill in its defaults, and find the cohort, or stop with one clear message."""
    schema = load_schema(PROJECT / "workflow/schemas/config.schema.yaml")
    config.update(check_config(config, schema))
    # Scans can be segmented by a finished model where there is no dataset; whatever needs patients then says so.
    if all(config["predict"].values()) and not os.path.exists(config["raw"]):
        return NIFTI, {}, [], set()
    cohort = find_cohort(Path(config["raw"]), config["exclude"], Path(out("")))

    for name in cohort.unknown if workflow.is_main_process else ():
        logger.warning(f"exclude: there is no {name} in {config['raw']} to leave out")
    patients = {patient.name: patient for patient in cohort.patients}
    problems = [line for lines in cohort.problems.values() for line in lines]
    requirements.require_patients(Path(config["raw"]), patients, problems, config["on_invalid"])
    return cohort.kind, patients, problems, {*patients, *cohort.problems, *config["exclude"]}


RAW_KIND, PATIENTS, LEFT_OUT, KNOWN_PATIENTS = load_config()
SUBSETS = {name: patient.subset for name, patient in PATIENTS.items()}
FIRST_STAGE = "adopt" if RAW_KIND == H5 else "normalize"
SOURCES = [path for patient in PATIENTS.values() for path in patient.sources]
ENCODER = config["encoder"]["name"]
CHECKPOINT = find_checkpoint_path(ENCODER, config["encoder"]["checkpoint"])


def log_of(job):
    """The log of a stage's job: ``split``, or ``normalize/{patient}`` where there is one for each patient."""
    return out(f"work/logs/{job}.log")


def benchmark_of(job):
    """The benchmark of a stage's job; the report reads those of all stages."""
    return out(f"work/benchmarks/{job}.tsv")


def script_hash(stage):
    """Hash of the modules that a stage's script uses: Snakemake itself looks at the script alone."""
    return code_hash(PROJECT / f"workflow/scripts/{stage}.py")


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
TRAINED = out(f"training/{ENCODER}/trained.tsv")
METRICS = out(f"training/{ENCODER}/metrics.json")
EVALUATED = out(f"training/{ENCODER}/evaluated.tsv")
EXPORT_INDEX = out("work/exports/{layout}.tsv")


def of_patients(pattern, patients=tuple(PATIENTS)):
    return expand(pattern, patient=patients)


def of_batches(pattern):
    return [] if ENCODER == "none" else expand(pattern, batch=BATCHES)


OUTSIDE = OutsideFiles(Path(out("work/outside.json")))


def load_split_rule():
    """How the dataset is split, and the table of splits; one that cannot be read is refused where it is needed."""
    table = config["split"]["file"]
    if table is None:
        return SplitRule(**config["split"]), None
    is_readable = os.path.isfile(table) and os.access(table, os.R_OK)
    facts = {"file": os.path.basename(table), "file_sha256": OUTSIDE.sha256(Path(table)) if is_readable else None}
    return SplitRule(**{**config["split"], **facts}), Path(table)


SPLIT_RULE, SPLIT_FILE = load_split_rule()
