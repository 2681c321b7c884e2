"""Published results on ACDC that a benchmark can be put beside, each with its source and what differs from it."""

from collections.abc import Mapping
from dataclasses import dataclass

CROSS_VALIDATION = "five-fold cross-validation on the 100 training patients (200 volumes)"
TEST_SET = "the challenge's 50 testing patients"


@dataclass(frozen=True)
class PublishedResult:
    """A published mean Dice.

    Attributes:
        method: Name of the method.
        dice: Mean Dice in percent over structures, phases and patients.
        patients: Which patients were measured.
        source: Where the number is published.
    """

    method: str
    dice: float
    patients: str
    source: str


_PRESETS = (
    "nnU-Net's documentation/resenc_presets.md; F. Isensee et al., nnU-Net Revisited, MICCAI 2024, arXiv 2404.09556"
)
_PRIMUS = "nnU-Net's documentation/primus.md"

MEAN_DICE = (
    PublishedResult("nnU-Net v2", 91.54, CROSS_VALIDATION, _PRESETS),
    PublishedResult("nnU-Net v2", 91.34, CROSS_VALIDATION, _PRIMUS),
    PublishedResult("nnU-Net v2, ResEnc-L", 91.69, CROSS_VALIDATION, _PRESETS),
    PublishedResult("nnU-Net v2, ResEnc-L", 92.54, CROSS_VALIDATION, _PRIMUS),
)
"""Results of nnU-Net. Its two documents differ for the same method, so both are given."""

CHALLENGE_BEST: Mapping[str, Mapping[str, float]] = {
    "RV": {"ED": 0.946, "ES": 0.904},
    "MYO": {"ED": 0.896, "ES": 0.919},
    "LV": {"ED": 0.967, "ES": 0.928},
}
"""Structure -> phase -> best mean Dice of the ACDC challenge, see CHALLENGE_SOURCE."""

CHALLENGE_SOURCE = (
    "O. Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-Structures Segmentation and "
    "Diagnosis: Is the Problem Solved?, IEEE TMI 37(11), 2018"
)

DIFFERENCES = (
    f"nnU-Net's numbers are of {CROSS_VALIDATION}. They are comparable with a cross-validation over all patients, best "
    "with split.scheme nnunet, which has nnU-Net's folds.",
    f"The challenge's numbers are of {TEST_SET}. They are comparable with benchmark.held_out: test, if the testing "
    "patients are part of the dataset; with a cross-validation, they are measured on other hearts.",
    "nnU-Net trains on all patients of the other folds and takes the last epoch. Here, a part of them chooses the "
    "epoch and is not trained on.",
    "All published numbers are of predictions without prompts. Results with boxes are not comparable: a box is drawn "
    "around the true mask, so it tells in which slices a structure is and where it ends.",
)
"""What to consider when a benchmark is compared with these numbers."""
