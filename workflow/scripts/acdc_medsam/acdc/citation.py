"""License and citations that everything derived from ACDC must carry."""

from acdc_medsam import __version__

LICENSE = "CC BY-NC-SA 4.0"
LICENSE_URL = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
ACDC_URL = "https://humanheart-project.creatis.insa-lyon.fr/database/"
ACDC_DATE = "2018-11-01"
"""Publication date of the journal issue that describes ACDC."""

MEDSAM_URL = "https://github.com/bowang-lab/MedSAM"
SOFTWARE = f"acdc-medsam {__version__}"

ACDC_BIBTEX = """\
@article{bernard2018acdc,
  title   = {Deep Learning Techniques for Automatic {MRI} Cardiac Multi-Structures Segmentation and Diagnosis:
             Is the Problem Solved?},
  author  = {Bernard, Olivier and Lalande, Alain and Zotti, Clement and Cervenansky, Frederick and others},
  journal = {IEEE Transactions on Medical Imaging},
  volume  = {37},
  number  = {11},
  pages   = {2514--2525},
  year    = {2018},
  doi     = {10.1109/TMI.2018.2837502}
}"""

MEDSAM_BIBTEX = """\
@article{ma2024medsam,
  title   = {Segment anything in medical images},
  author  = {Ma, Jun and He, Yuting and Li, Feifei and Han, Lin and You, Chenyu and Wang, Bo},
  journal = {Nature Communications},
  volume  = {15},
  pages   = {654},
  year    = {2024},
  doi     = {10.1038/s41467-024-44824-z}
}"""

NOTICE_NAME = "LICENCE_AND_CITATION.txt"

NOTICE = f"""\
Made from ACDC, the Automated Cardiac Diagnosis Challenge dataset ({ACDC_URL}),
by {SOFTWARE}.

Licence: {LICENSE} ({LICENSE_URL}), for non-commercial research.
What is derived from it must be shared under the same licence. ACDC must be cited wherever it is used:

{ACDC_BIBTEX}

Where image embeddings are used, please cite MedSAM ({MEDSAM_URL}) too:

{MEDSAM_BIBTEX}
"""
"""Text that every export carries in a file named NOTICE_NAME."""
