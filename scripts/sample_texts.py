"""What is written beside the sample volumes: notices, and the page that lists the files."""

from __future__ import annotations

from synthetic_tumour import CHANNELS

CT_NOTICE = """\
ct_torso.nii.gz and ct_torso_labels.nii.gz come from the source distribution of
TotalSegmentator 2.18.0, which is distributed under the Apache License, Version 2.0
(see LICENSE beside this file):

    tests/reference_files/example_ct.nii.gz
    tests/reference_files/example_seg_fast_force_split.nii.gz

Changes: the CT is stored as int16 instead of int32, with the same values. Of the label
file only spleen, kidneys, liver and bones are kept, merged and renumbered. The geometry
is unchanged.

The labels are the output of TotalSegmentator, a neural network. Nobody drew or corrected
them by hand.

Reference: Wasserthal J. et al., TotalSegmentator: Robust Segmentation of 104 Anatomic
Structures in CT Images, Radiology: Artificial Intelligence 5(5), 2023.
"""

MNI_NOTICE = """\
mni_t1.nii.gz and mni_t1_labels.nii.gz are derived from the MNI ICBM 152 2009a nonlinear
symmetric template (T1, grey matter and white matter at 1 mm), in the converted,
skull-stripped form that the nilearn 0.14.1 wheel contains:

    nilearn/datasets/data/mni_icbm152_{t1,gm,wm}_tal_nlin_sym_09a_converted.nii.gz

It is an average of 152 people, not a patient. Changes: smoothed and downsampled to 2 mm;
the two probability maps are turned into one label map.

nilearn itself is under the BSD 3-Clause licence (LICENSE-nilearn beside this file). Its
description of the ICBM 152 data set gives the licence of the template as "unknown". The
Montreal Neurological Institute publishes the ICBM 152 atlases with this notice:

    Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal
    Neurological Institute, McGill University. Permission to use, copy, modify, and
    distribute this software and its documentation for any purpose and without fee is
    hereby granted, provided that the above copyright notice appear in all copies. The
    authors and McGill University make no representations about the suitability of this
    software for any purpose. It is provided "as is" without express or implied warranty.
    The authors are not responsible for any data loss, equipment damage, property loss, or
    injury to subjects or patients resulting from the use or misuse of this software
    package.

References: Fonov V. et al., Unbiased average age-appropriate atlases for pediatric
studies, NeuroImage 54(1), 2011; Fonov V. et al., Unbiased nonlinear average
age-appropriate brain templates from birth to adulthood, NeuroImage 47(S1), 2009;
Collins D. L. et al., ANIMAL+INSECT: Improved cortical structure segmentation, 1999.
"""

README_HEAD = """\
# Sample data

Small volumes to try the package on, and small networks trained on them.
`python scripts/make_samples.py` rebuilds the volumes, `python scripts/train_demo_models.py`
the networks; `python scripts/make_samples.py --check` compares the files with the table below.
Bytes can differ after a rebuild with another version of zlib; the voxels do not.

- `ct_torso/`: CT of the abdomen and pelvis of one real patient, in HU. The labels are the
  **output of TotalSegmentator, not a manual segmentation**: 1 spleen, 2 kidneys, 3 liver,
  4 bone (vertebrae, sacrum, hips, femurs, ribs; no costal cartilage). The bone label holds
  voxels of over 3000 HU at one femur, most likely a metal implant. Organs are cut off
  where the volume ends.
- `mni_t1/`: T1-weighted template of the brain, skull-stripped, the average of 152 people
  and **not a patient**. Labels: 1 grey matter, 2 white matter, each where its probability
  is larger than that of the other and of everything else. The template's grey matter also
  covers the deep nuclei and much of the brain stem. `*_slice.png` is one axial slice of each
  as a picture, for 2D.
- `synthetic_tumour/`: **synthetic, drawn from ellipsoids by `scripts/synthetic_tumour.py`; no
  patient and no MRI**. Four channels (`t1`, `t1ce`, `t2`, `flair`) and tumours of nested regions,
  with the integers of BraTS: 1 necrosis, 2 oedema, 4 enhancing; the core is 1 and 4, the whole
  tumour 1, 2 and 4.
- `tof_phantom/`: **phantoms of time-of-flight MR angiograms, drawn by
  `scripts/make_tof_phantom.py`; no patient and no MRI**. A tree of vessels by Murray's law with
  inflow loss, in tissue from `mni_t1/`, and false friends: bright fat, calcification-like blobs.
  Each of the twelve cases is there twice, with and without its fat. Labels: 1 wide vessels, 2 thin
  ones (below 1.5 mm), 3 fat, 4 calcification-like blobs; masks of thin vessels, and of those up to
  5 mm from fat.
- `models/`: demonstration networks that **overfit the one volume they were trained on**,
  `ct_torso/` (`ct_*`), `mni_t1/` (`t1_*`) or `synthetic_tumour/` (`tumour_*`, by
  `scripts/train_region_model.py`), or `nnunet/`, on `ct_torso/` and as nnU-Net v2 leaves it
  (`scripts/make_nnunet_sample.py`); **not for clinical use**. The card beside each
  one tells how it was trained and what it reaches. `vessel_*` were trained on phantoms that are not
  shipped (`scripts/train_vessel_models.py`), `vessel_unet_shortcut` with wrong labels on purpose.
  `ct_bundle/` has the configs of `ct_unet3d` as a MONAI bundle; its weights are those beside it.

All volumes are stored in RAS orientation.

| File | Content | Source | Licence | Shape | Spacing (mm) | sha256 |
|---|---|---|---|---|---|---|
"""

# file: (content, source, licence)
TSEG, NILEARN = "TotalSegmentator 2.18.0 sdist", "nilearn 0.14.1 wheel"
TRAINED = "trained on `ct_torso/` by `scripts/train_demo_models.py`"
DRAWN = "drawn by `scripts/synthetic_tumour.py`"
TRAINED_TUMOUR = "trained on `synthetic_tumour/` by `scripts/train_region_model.py`"
NNUNET = "trained on `ct_torso/` by `scripts/make_nnunet_sample.py`"
NNUNET_FOLDER = "models/nnunet/Dataset001_Torso/nnUNetTrainer__nnUNetPlans__2d"
PHANTOM = "drawn by `scripts/make_tof_phantom.py`"
PHANTOM_FILES = {
    "": "phantom, int16",
    "_without_fat": "the same without fat, int16",
    "_labels": "labels 0-4, uint8",
    "_thin": "thin vessels, uint8",
    "_thin_near_fat": "thin vessels near fat, uint8",
}
TRAINED_VESSEL = "trained on phantoms by `scripts/train_vessel_models.py`"
VESSEL_MODELS = {
    "vessel_unet": "U-Net",
    "vessel_unet_ds": "U-Net with deep supervision",
    "vessel_attention_unet": "Attention U-Net",
    "vessel_unet_shortcut": "U-Net that was taught a false friend",
}
BUNDLED = "written by `scripts/make_bundle.py`"
TRAINED_T1 = "trained on `mni_t1/` by `scripts/train_demo_models.py`"
FILES = {
    "ct_torso/ct_torso.nii.gz": ("CT, int16, HU", TSEG, "Apache-2.0"),
    "ct_torso/ct_torso_labels.nii.gz": ("labels 0-4, uint8", TSEG, "Apache-2.0"),
    "ct_torso/LICENSE": ("licence text", TSEG, "Apache-2.0"),
    "ct_torso/NOTICE": ("origin and changes", "this project", "-"),
    "mni_t1/mni_t1.nii.gz": ("T1 template, uint8", NILEARN, "MNI notice"),
    "mni_t1/mni_t1_labels.nii.gz": ("labels 0-2, uint8", NILEARN, "MNI notice"),
    "mni_t1/mni_t1_slice.png": ("one axial slice, 8 bit", NILEARN, "MNI notice"),
    "mni_t1/mni_t1_labels_slice.png": ("its labels 0-2, 8 bit", NILEARN, "MNI notice"),
    "mni_t1/LICENSE-nilearn": ("licence text", NILEARN, "BSD-3-Clause"),
    "mni_t1/NOTICE": ("origin, MNI notice, changes", "this project", "-"),
    **{
        f"synthetic_tumour/synthetic_tumour_{channel}.nii.gz": (
            f"synthetic {channel}, uint8",
            DRAWN,
            "Apache-2.0",
        )
        for channel in CHANNELS
    },
    "synthetic_tumour/synthetic_tumour_labels.nii.gz": ("labels 0-4, uint8", DRAWN, "Apache-2.0"),
    **{
        f"tof_phantom/tof{number:02d}{ending}.nii.gz": (content, PHANTOM, "MNI notice")
        for number in range(1, 13)
        for ending, content in PHANTOM_FILES.items()
    },
    **{
        f"models/{name}.pt": (f"{title}, weights", TRAINED_VESSEL, "MNI notice")
        for name, title in VESSEL_MODELS.items()
    },
    **{f"models/{name}.md": ("model card", TRAINED_VESSEL, "-") for name in VESSEL_MODELS},
    "models/ct_unet3d.safetensors": ("3D U-Net weights", TRAINED, "Apache-2.0, as its data"),
    "models/ct_unet3d.md": ("model card", TRAINED, "-"),
    "models/ct_unet2d.safetensors": ("2D U-Net weights", TRAINED, "Apache-2.0, as its data"),
    "models/ct_unet2d.md": ("model card", TRAINED, "-"),
    "models/t1_unet2d.safetensors": ("2D U-Net weights", TRAINED_T1, "MNI notice, as its data"),
    "models/t1_unet2d.md": ("model card", TRAINED_T1, "-"),
    "models/tumour_unet3d.safetensors": ("3D U-Net weights", TRAINED_TUMOUR, "Apache-2.0"),
    "models/tumour_unet3d.md": ("model card", TRAINED_TUMOUR, "-"),
    "models/ct_bundle/configs/inference.json": ("MONAI bundle of `ct_unet3d`", BUNDLED, "-"),
    "models/ct_bundle/configs/metadata.json": ("its channels and labels", BUNDLED, "-"),
    "models/nnunet.md": ("model card", NNUNET, "-"),
    f"{NNUNET_FOLDER}/dataset.json": ("channels and labels of nnU-Net v2", NNUNET, "-"),
    f"{NNUNET_FOLDER}/plans.json": ("plans of nnU-Net v2", NNUNET, "-"),
    f"{NNUNET_FOLDER}/fold_0/checkpoint_final.pth": (
        "nnU-Net v2 checkpoint, 2D",
        NNUNET,
        "Apache-2.0, as its data",
    ),
}
