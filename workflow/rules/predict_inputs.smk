# Scans to segment and the model for them, and what may be refused before any of their jobs runs.
from functools import cache

from acdc_medsam.predict.find_scans import Found, divide_scans, find_scans, require_scans
from acdc_medsam.train.model import find_percentile, require_model

PREDICTIONS = out("predictions")
PREPARED = out("work/predict/scans/{scan}/index.tsv")
SEGMENTED = out("work/predict/segmented/{part}.tsv")
PREDICT_REPORT = out("work/predict/report.tsv")
PREDICT_ACCEPTED = out("work/predict/accepted.tsv")
GIVEN_MODEL = config["predict"]["model"]


@cache
def find_configured_scans():
    """The scans in the configured folder, and why some files there cannot be used."""
    folder = config["predict"]["scans"]
    return find_scans([Path(folder)], Path(PREDICTIONS)) if folder else Found((), {}, ())


@cache
def scans():
    """Name -> file of each scan."""
    return {file.name: file for file in find_configured_scans().scans}


@cache
def parts():
    """The fixed shares of all scans that are segmented by one job each."""
    return divide_scans(scans())


def prediction_indexes():
    """The index of every file that the target `predict` makes."""
    return [
        *expand(PREPARED, scan=scans()),
        *expand(SEGMENTED, part=parts()),
        PREDICT_REPORT,
        PREDICT_ACCEPTED,
    ]


@refusals()
def prepared_scans(wildcards):
    """All prepared scans, or an error before any job runs if there is none."""
    require_scans(config["predict"]["scans"], find_configured_scans())
    sources = [path for file in scans().values() for path in file.sources]
    OUTSIDE.look(sources)
    requirements.require_past_times(sources)
    plan_repairs()
    return expand(PREPARED, scan=scans())


def segmented_scans(wildcards):
    return expand(SEGMENTED, part=parts())


def part_scans(wildcards):
    return expand(PREPARED, scan=parts()[wildcards.part])


def scan_sources(wildcards):
    """The scan's file, and Info.cfg where it is beside it."""
    return [local(str(path)) for path in scans()[wildcards.scan].sources]


def scan_digests(wildcards):
    return {path.name: OUTSIDE.sha256(path) for path in scans()[wildcards.scan].sources}


def scan_subject(wildcards):
    return scans()[wildcards.scan].subject


def unusable_scans(wildcards):
    return find_configured_scans().failed


@refusals()
def scan_model(wildcards):
    """The model that is configured, or the one that the workflow trains."""
    if GIVEN_MODEL is None:
        return MODEL
    require_model(Path(GIVEN_MODEL))
    return ancient(local(GIVEN_MODEL))


def scan_model_digests(wildcards):
    """Sha256 of a finished model and of what is said of it; None of one that is trained by the workflow."""
    if GIVEN_MODEL is None:
        return None
    files = [Path(GIVEN_MODEL), Path(GIVEN_MODEL).with_name("training.json")]
    return [OUTSIDE.sha256(path) for path in files if path.is_file()]


def scan_percentile(wildcards):
    return config["normalize"]["percentile"] if GIVEN_MODEL is None else find_percentile(Path(GIVEN_MODEL))
