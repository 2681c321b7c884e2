"""Settings of Sphinx, which makes the documentation site: ``make docs``."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "docs")]

from acdc_medsam import __version__  # noqa: E402
from generate import SCHEMA, generate  # noqa: E402

project = "ACDC to MedSAM"
author = "The ACDC to MedSAM developers"
project_copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True
# Only the package's own names are looked up: those of other packages would need their inventories from the internet.
# Variables of types have a letter as their name, and no documentation.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!acdc_medsam\b).*"),
    (r"py:class", r"acdc_medsam\..*\.[A-Z]"),
    (r"py:class", r"acdc_medsam\.report\..*"),
]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Attributes of a class are a list without types, which its signature has.
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"

GENERATED = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)
SECTION = re.compile(r"([A-Z]\w+):$")
"""Heading of a section of a docstring, such as ``Returns:``."""

HIDDEN_COLON = "\ufe13"
"""Stands for a colon while Napoleon reads a docstring."""


def insert_generated_parts(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn the lines of a page that ask for a generated part into that part."""
    if GENERATED.search(source[0]):
        app.env.note_dependency(str(SCHEMA))
        source[0] = GENERATED.sub(lambda found: generate(found[1]), source[0])


def hide_colons(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Hide colons of sentences from Napoleon, which takes what is before a colon for a type. Types are annotations."""
    section = ""
    for number, line in enumerate(lines):
        heading = SECTION.match(line)
        section = heading[1] if heading else section
        if not heading and (what in ("attribute", "data") or section in ("Returns", "Yields")):
            lines[number] = line.replace(":", HIDDEN_COLON)


def show_colons(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Put back the colons that :func:`hide_colons` has hidden."""
    lines[:] = [line.replace(HIDDEN_COLON, ":") for line in lines]


def setup(app: Sphinx) -> None:
    """Have parts generated as pages are read, and docstrings read as they are meant."""
    app.connect("source-read", insert_generated_parts)
    app.connect("autodoc-process-docstring", hide_colons, priority=100)
    app.connect("autodoc-process-docstring", show_colons, priority=900)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
