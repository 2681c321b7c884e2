"""License and citations that everything derived from ACDC must carry."""

from acdc_medsam import __version__
from acdc_medsam.acdc.naming import NAME

LICENSE = "CC BY-NC-SA 4.0"
LICENSE_URL = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
DATASET_URL = "https://humanheart-project.creatis.insa-lyon.fr/database/"
DATASET_DATE = "2018-11-01"
"""Publication date of the journal issue that describes ACDC."""
CREATOR = "ACDC: University Hospital of Dijon and CREATIS"

MEDSAM_URL = "https://github.com/bowang-lab/MedSAM"
SOFTWARE = f"acdc-medsam {__version__}"

DATASET_BIBTEX = """\
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

REFERENCE = (
    f"{NAME} is for non-commercial research ({LICENSE}) and must be cited: O. Bernard et al., "
    '"Deep Learning Techniques for Automatic MRI Cardiac\nMulti-Structures Segmentation and Diagnosis: Is the Problem '
    'Solved?", IEEE Transactions on Medical Imaging 37(11), 2018.'
)
"""License and citation in one sentence, as the report page has them."""

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
Made from ACDC, the Automated Cardiac Diagnosis Challenge dataset ({DATASET_URL}),
by {SOFTWARE}.

Licence: {LICENSE} ({LICENSE_URL}), for non-commercial research.
What is derived from it must be shared under the same licence. ACDC must be cited wherever it is used:

{DATASET_BIBTEX}

Where image embeddings are used, please cite MedSAM ({MEDSAM_URL}) too:

{MEDSAM_BIBTEX}
"""
"""Text that every export carries in a file named NOTICE_NAME."""
