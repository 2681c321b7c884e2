# Functions for the inputs and params of exports, which depend on the layout, or may be refused before any job runs.
from acdc_medsam.exports.registry import require_exportable


def raw_volumes():
    """Raw NIfTI images and labels of all patients."""
    return [path for patient in PATIENTS.values() for path in patient.volumes]


@refusals()
def exportable_manifest(wildcards):
    """The manifest, or an error before any job runs if the layout could not be made."""
    require_exportable(wildcards.layout, ENCODER, not workflow.deployment_settings.deployment_method)
    return MANIFEST


def export_volumes(wildcards):
    """The raw images and labels, if the layout is made from them."""
    return [local(str(path)) for path in raw_volumes()] if "volumes" in LAYOUTS[wildcards.layout].options else []


def export_options(wildcards):
    """Those options that the layout takes: another one does not re-run its export."""
    options = LAYOUTS[wildcards.layout].options
    own = config["exports"].get(wildcards.layout, {})
    values = {"link": config["publish"]["link"], "seed": config["split"]["seed"], **own}
    if "volumes" in options:
        values["volumes"] = {str(path): OUTSIDE.sha256(path) for path in raw_volumes()}
    return {name: values[name] for name in options}


def export_folder(wildcards):
    return out(f"data/exports/{LAYOUTS[wildcards.layout].folder}")


def export_message(wildcards):
    return LAYOUTS[wildcards.layout].message


def export_code(wildcards):
    return LAYOUTS[wildcards.layout].code
