# Functions for the inputs and params of exports, which depend on the layout, or may be refused before any job runs.
from acdc_medsam.exports.registry import require_exportable


def raw_volumes():
    """Raw NIfTI images and labels of all patients."""
    return [path for patient in PATIENTS.values() for path in patient.volumes]


def raw_cines():
    """Raw NIfTI files of the cines that there are, and of the single frames that each is compared with."""
    patients = PATIENTS.values() if RAW_KIND == NIFTI else []
    return [path for patient in patients if patient.cine for path in (patient.cine, *patient.images)]


RAW_FILES = {"volumes": raw_volumes, "cines": raw_cines}


@refusals()
def exportable_manifest(wildcards):
    """The manifest, or an error before any job runs if the layout could not be made."""
    require_exportable(wildcards.layout, ENCODER, not workflow.deployment_settings.deployment_method)
    return MANIFEST


@refusals()
def export_raw_files(wildcards):
    """The raw files that the layout is made from, or an error before any job runs if one is from the future."""
    files = [path for name in RAW_FILES if name in LAYOUTS[wildcards.layout].options for path in RAW_FILES[name]()]
    requirements.require_past_times(files)
    return [local(str(path)) for path in files]


def export_options(wildcards):
    """Those options that the layout takes: another one does not re-run its export."""
    options = LAYOUTS[wildcards.layout].options
    own = config["exports"].get(wildcards.layout, {})
    values = {
        "link": config["publish"]["link"],
        "seed": config["split"]["seed"],
        "percentile": config["normalize"]["percentile"],
        **own,
    }
    for name in RAW_FILES.keys() & options:
        OUTSIDE.look(RAW_FILES[name]())
        values[name] = {str(path): OUTSIDE.sha256(path) for path in RAW_FILES[name]()}
    return {name: values[name] for name in options}


def export_folder(wildcards):
    return out(f"data/exports/{LAYOUTS[wildcards.layout].folder}")


def export_message(wildcards):
    return LAYOUTS[wildcards.layout].message


def export_code(wildcards):
    return LAYOUTS[wildcards.layout].code
