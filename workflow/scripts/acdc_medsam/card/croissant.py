"""The description of the dataset in Croissant 1.0 of MLCommons, which dataset search engines and loaders read.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

from collections.abc import Sequence
from typing import Any

from acdc_medsam import __version__
from acdc_medsam.acdc.citation import CREATOR, DATASET_BIBTEX, DATASET_DATE, DATASET_URL, LICENSE_URL, MEDSAM_BIBTEX
from acdc_medsam.acdc.labels import MASK_VALUES
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.layout import PIXEL_COLUMNS

Json = dict[str, Any]
"""A JSON object."""

CROISSANT = "http://mlcommons.org/croissant/"
TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet"),
    *("format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": CROISSANT,
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    **{term: f"cr:{term}" for term in TERMS},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
}
"""The context of the appendix of the specification, and two later terms that mlcroissant requires."""

NUMBERS = ("frame", "slice_index", "height", "width", *PIXEL_COLUMNS.values(), "fold")
"""Columns of the manifest with whole numbers. ``fold`` is empty for patients without a fold."""

IN_SPLITS: Json = {"references": {"field": {"@id": "splits/name"}}}
"""Says of a field that its values are names of splits."""

FILES = {
    "images": ("png", "image/png", "images, 8-bit gray"),
    "masks": ("png", "image/png", f"masks: {MASK_VALUES}"),
    "image_embeddings": ("pt", "application/octet-stream", "one PyTorch tensor each, float32 [256, 64, 64]"),
}
"""Folder of a split -> suffix, media type and description of the files in it."""


def describe_dataset(
    columns: Sequence[str], splits: Sequence[str], manifest_sha256: str, embeddings: bool, description: str
) -> Json:
    """Describe the dataset.

    Args:
        columns: Names of the columns of the manifest.
        splits: Names of the splits that have slices.
        manifest_sha256: Hex sha256 of ``manifest.tsv``.
        embeddings: Whether there are image embeddings.
        description: Description of the dataset in a sentence or two.

    Returns:
        JSON-LD with a FileObject for the manifest, a FileSet for each kind of file, and RecordSets for splits, slices,
        images and masks. Croissant has no data type for embeddings; the records of slices contain their paths.
    """
    kinds = [kind for kind in FILES if embeddings or kind != "image_embeddings"]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": f"{CROISSANT}1.0",
        "name": "acdc-medsam",
        "description": description,
        "version": __version__,
        "url": DATASET_URL,
        # The date of ACDC itself, like its creator and URL. The date of a run would make equal runs differ.
        "datePublished": DATASET_DATE,
        "license": LICENSE_URL,
        "citeAs": f"{DATASET_BIBTEX}\n{MEDSAM_BIBTEX}",
        "creator": {"@type": "sc:Organization", "name": CREATOR},
        "keywords": ["cardiac MRI", "segmentation", NAME, "MedSAM", "image embeddings"],
        "isLiveDataset": False,
        "distribution": [_manifest(manifest_sha256), *(_file_set(kind, splits) for kind in kinds)],
        "recordSet": [_splits(splits), _slices(columns), *map(_records, ("images", "masks"))],
    }


def _manifest(sha256: str) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": "manifest",
        "name": "manifest.tsv",
        "description": "One row per slice.",
        "contentUrl": "manifest.tsv",
        "encodingFormat": "text/tab-separated-values",
        "sha256": sha256,
    }


def _file_set(kind: str, splits: Sequence[str]) -> Json:
    suffix, media_type, description = FILES[kind]
    return {
        "@type": "cr:FileSet",
        "@id": f"{kind}-files",
        "name": kind,
        "description": description,
        "encodingFormat": media_type,
        "includes": [f"{split}/{kind}/*.{suffix}" for split in splits],
    }


def _field(record_set: str, name: str, data_type: str, source: Json, **extra: object) -> Json:
    names: Json = {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name}
    return {**names, "dataType": data_type, "source": source, **extra}


def _splits(splits: Sequence[str]) -> Json:
    field = {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}
    data = [{"splits/name": split} for split in splits]
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [field],
        "data": data,
    }


def _slices(columns: Sequence[str]) -> Json:
    fields = []
    for column in columns:
        source = {"fileObject": {"@id": "manifest"}, "extract": {"column": column}}
        data_type = "sc:Integer" if column in NUMBERS else "sc:Text"
        fields.append(_field("slices", column, data_type, source, **(IN_SPLITS if column == "split" else {})))
    return {
        "@type": "cr:RecordSet",
        "@id": "slices",
        "name": "slices",
        "description": "What the manifest says of each slice.",
        "key": {"@id": "slices/slice"},
        "field": fields,
    }


def _records(kind: str) -> Json:
    """Describe the images or the masks: slice and split, which are read off the path of the file, and the picture."""

    def source(file_property: str, **transform: Json) -> Json:
        return {"fileSet": {"@id": f"{kind}-files"}, "extract": {"fileProperty": file_property}, **transform}

    slice_source = source("filename", transform={"regex": r"(.*)\.png"})
    split_source = source("fullpath", transform={"regex": r"(\w+)/.*"})

    return {
        "@type": "cr:RecordSet",
        "@id": kind,
        "name": kind,
        "description": FILES[kind][2],
        "key": {"@id": f"{kind}/slice"},
        "field": [
            _field(kind, "slice", "sc:Text", slice_source),
            _field(kind, "split", "sc:Text", split_source, **IN_SPLITS),
            _field(kind, "image", "sc:ImageObject", source("content")),
        ],
    }
