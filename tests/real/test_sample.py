"""Six real patients: the volumes equal the published ones, and the embeddings give the ventricles back."""

import shutil
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data import ItemOptions, SliceDataset, positional_encoding
from acdc_medsam.encoders import load_model
from acdc_medsam.evaluate.metrics import dice_coefficient
from acdc_medsam.evaluate.predict import with_boxes
from acdc_medsam.evaluate.volumes import read_truth, stack_slices
from acdc_medsam.formats.files import read_table
from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.stages.render import resize_label
from workflow_run import Run, Workflow

SLICES = 12
"""Number of slices with structures of the two patients that are encoded."""


def test_every_volume_equals_the_published_one(real_images: tuple[Workflow, Run], sample: Path) -> None:
    published = sorted((sample / "published/ACDC_training_volumes").glob("*.h5"))
    ours = real_images[0].folder / "ACDC_training_volumes"
    assert len(published) == len(list(ours.iterdir())) == 12
    for path in published:
        with h5py.File(path) as theirs, h5py.File(ours / path.name) as own:
            assert own["image"].dtype == np.float32 and own["label"].dtype == np.uint8
            assert np.abs(own["image"][:] - theirs["image"][:]).max() <= 1e-5
            np.testing.assert_array_equal(own["label"][:], theirs["label"][:])


def test_every_slice_equals_its_plane(real_images: tuple[Workflow, Run], sample: Path) -> None:
    slices = real_images[0].folder / "ACDC_training_slices"
    seen = 0
    for path in (sample / "published/ACDC_training_volumes").glob("*.h5"):
        with h5py.File(path) as volume:
            for index, (image, label) in enumerate(zip(volume["image"][:], volume["label"][:], strict=True)):
                with h5py.File(slices / f"{path.stem}_slice_{index}.h5") as plane:
                    assert np.abs(plane["image"][:] - image).max() <= 1e-5
                    np.testing.assert_array_equal(plane["label"][:], label)
                seen += 1
    assert seen == len(list(slices.iterdir())) == 132


def test_every_check_passed(real_images: tuple[Workflow, Run], real: tuple[Workflow, Run]) -> None:
    for (workflow, _), slices in ((real_images, 127), (real, SLICES)):
        assert read_index_comments(workflow.folder / "work/accepted.tsv").notes == ("19 checks passed",)
        assert len(read_table(workflow.data / "manifest.tsv")) == slices


class PlainDataset(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor, str]]):
    """The dataset class of fine-tuning notebooks: it lists the embeddings, and finds images and masks by their stem."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = sorted((folder / "image_embeddings").glob("*.pt"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, str]:
        path = self.files[index]
        image, mask = (
            torch.from_numpy(np.array(Image.open(self.folder / kind / f"{path.stem}.png")))
            for kind in ("images", "masks")
        )
        return torch.load(path, weights_only=True), image, mask, path.stem


def test_the_dataset_loads_as_notebooks_load_it(real: tuple[Workflow, Run]) -> None:
    loaders = [
        torch.utils.data.DataLoader(PlainDataset(real[0].data / split), batch_size=4) for split in ("train", "val")
    ]
    assert sum(len(loader.dataset) for loader in loaders) == SLICES  # type: ignore[arg-type]
    embedding, image, mask, names = next(iter(loaders[0]))
    assert embedding.shape == (4, 256, 64, 64) and embedding.dtype == torch.float32
    assert image.shape == mask.shape == (4, 1024, 1024) and image.dtype == mask.dtype == torch.uint8
    assert len(set(names)) == 4


def test_boxes_and_embeddings_give_the_ventricles_back(real: tuple[Workflow, Run], checkpoint: Path) -> None:
    predict = with_boxes(load_model("lite_medsam", checkpoint), positional_encoding(real[0].data), fine_tuned=False)
    dice = defaultdict(list)
    for split in ("train", "val"):
        dataset = SliceDataset(real[0].data, split, ItemOptions())
        for item in map(dataset.__getitem__, range(len(dataset))):
            for mask, (structure, value) in zip((predict(item) > 0).numpy(), LABELS.items(), strict=True):
                truth = (item["mask"] == value).numpy()
                if truth.any():
                    dice[structure].append(dice_coefficient(mask, truth))
    mean = {structure: float(np.mean(values)) for structure, values in dice.items()}
    print("mean Dice with boxes:", {key: round(value, 4) for key, value in mean.items()})
    assert mean["LV"] >= 0.93
    assert mean["RV"] >= 0.88


def test_published_masks_fit_the_original_grid_without_loss(real_images: tuple[Workflow, Run]) -> None:
    """Nearest neighbor loses nothing where no side is longer than 1024 pixels, so Dice is 1."""
    workflow, _ = real_images
    rows = read_table(workflow.data / "manifest.tsv")
    worst = 1.0
    for path in sorted((workflow.folder / "ACDC_training_volumes").iterdir()):
        truth = read_truth(path)
        masks = {
            int(row["slice_index"]): np.array(
                Image.open(real_images[0].data / row["split"] / f"masks/{row['slice']}.png")
            )
            for row in rows
            if row["slice"].startswith(f"{path.stem}_")
        }
        assert all((masks[index] == resize_label(truth.label[index], 1024)).all() for index in masks)
        volume = stack_slices(masks, truth.label.shape)
        worst = min(worst, *(dice_coefficient(volume == value, truth.label == value) for value in LABELS.values()))
    print("lowest Dice of a structure on its original grid:", worst)
    assert worst == 1


def test_nnunet_itself_finds_nothing_wrong(
    real_images: tuple[Workflow, Run], integrity: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow, _ = real_images
    assert workflow.run("nnunet").jobs == ["export for nnU-Net"]
    integrity.verify_dataset_integrity(str(workflow.folder / "data/exports/nnunet/Dataset027_ACDC"), num_processes=1)
    assert "verify_dataset_integrity Done" in capsys.readouterr().out


def test_one_patient_of_two_changed(real: tuple[Workflow, Run], tmp_path: Path) -> None:
    import nibabel as nib

    workflow = real[0].copy(tmp_path / "run")
    path = workflow.raw / "training/patient025/patient025_frame09.nii.gz"
    image = nib.load(path)
    voxels = np.asanyarray(image.dataobj).copy()
    voxels[100, 100, 1] = voxels.min()
    path.chmod(0o644)
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)
    before = workflow.stored()
    run = workflow.run()
    assert run.of("normalize", "render") == ["normalize patient025", "render patient025"]
    encoded = len(workflow.stored()) - len(before)
    print("jobs after changing one patient of two:", len(run.jobs), run.jobs, "slices encoded:", encoded)
    assert encoded == 1, "one voxel below the clip level changes one slice alone"


def test_h5_files_as_published_give_the_same_pictures(
    real_images: tuple[Workflow, Run], sample: Path, tmp_path: Path
) -> None:
    """Equal pictures have equal embeddings, because these are stored under a digest of the picture's pixels."""
    workflow = Workflow(tmp_path / "run")
    shutil.copytree(sample / "published", workflow.raw)
    workflow.configure(encoder={"name": "none"})
    run = workflow.run("images")
    assert "from H5 files: 6 patients, 12 volumes, 132 slices" in run.output
    for kind in ("images", "masks"):
        theirs = {path.name: path.read_bytes() for path in real_images[0].folder.glob(f"work/png/*/{kind}/*.png")}
        ours = {path.name: path.read_bytes() for path in workflow.folder.glob(f"work/png/*/{kind}/*.png")}
        assert ours == theirs and len(ours) == 127
    tables = [sorted(one.folder.glob("work/png/*/slices.tsv")) for one in (workflow, real_images[0])]
    for ours, theirs in zip(*tables, strict=True):
        columns = ("slice", "group", "phase", "frame", "lv_pixels", "pixels_sha256")
        assert [[row[column] for column in columns] for row in read_table(ours)] == [
            [row[column] for column in columns] for row in read_table(theirs)
        ]
