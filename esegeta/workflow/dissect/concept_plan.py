"""From the config's concepts to rules that are known to work for every case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from esegeta.config import blamed_on
from esegeta.config.concepts import ConceptsKeys
from esegeta.config.dissection import ConceptBlock, DissectionKeys
from esegeta.config.lines import Path_
from esegeta.dissection import (
    BoundaryBand,
    Boxes,
    Bright,
    Complement,
    Concept,
    ConceptRule,
    ConceptSources,
    Distance,
    Edges,
    Half,
    LabelValues,
    MaskFile,
    Points,
    Textured,
    Together,
)
from esegeta.errors import ConfigError, DataError, suggest
from esegeta.model import Labels
from esegeta.volume import Case, check_case, image_stem, is_image, is_picture, read_label_map
from esegeta.workflow import Basis
from esegeta.workflow.plans import image_sha256
from esegeta.workflow.preprocess import blamed_on_steps

CASE = "{case}"
"""What stands for the case's name in the path of a mask."""
MOST_LABELS = 8
"""How many labels a note lists."""


@dataclass(frozen=True, eq=False)
class ConceptPlan:
    """The concepts of a dissection and the files that they come from.

    Args:
        concepts: what units are compared with.
        helpers: labels that concepts are made of and that are no concepts themselves.
        files: pattern of the mask file, by concept.
        basis: for paths and cases.
        block: of the config, that they stand in.
    """

    concepts: tuple[Concept, ...]
    helpers: tuple[Concept, ...]
    files: Mapping[str, str]
    basis: Basis
    block: str = "dissection"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the concepts, in the config's order."""
        return tuple(concept.name for concept in self.concepts)

    @property
    def needs_labels(self) -> bool:
        """Whether any concept is made from the cases' label maps."""
        return any(concept.rule.needs_labels for concept in (*self.concepts, *self.helpers))

    def ground(self, case: Case) -> ConceptSources:
        """Read what the concepts of a case are made from."""
        basis = self.basis
        volume, _ = basis.read(replace(case, label=None))
        truth = None
        if self.needs_labels and case.label is not None:
            # Its header was checked before the run, and is once more as the map is read.
            with blamed_on_steps(basis.config):
                truth = read_label_map(case.label, volume)
        volume = volume.to(basis.device)
        masks = {
            name: read_label_map(self.mask_file(name, case), volume, basis.preprocess)
            for name in self.files
        }
        return ConceptSources(volume, truth, masks)

    def mask_file(self, name: str, case: Case) -> Path:
        """Return the file of a concept's mask in a case."""
        path = self.basis.config.find_file(self.files[name].replace(CASE, case.name))
        if not path.is_dir():
            return path
        # A folder of masks: the one that has the name of the case.
        own = [file for file in path.iterdir() if is_image(file.name)]
        found = sorted(file for file in own if image_stem(file.name) == case.name)
        return found[0] if found else path / f"{case.name}.nii.gz"

    def fingerprint(self, case: Case) -> object:
        """Return all that decides the masks of a case beside its image, as plain values."""
        label = case.label if self.needs_labels else None
        return {
            "rules": [repr(concept) for concept in (*self.concepts, *self.helpers)],
            "label": None if label is None else image_sha256(label),
            "masks": {name: image_sha256(self.mask_file(name, case)) for name in self.files},
        }


Block = Literal["dissection", "concepts"]


def plan_concepts(
    keys: DissectionKeys | ConceptsKeys, basis: Basis, *, block: Block = "dissection"
) -> ConceptPlan:
    """Build the concepts of a config and check them against every case.

    Raises:
        ConfigError: a concept is made from one that is not there, or from itself.
        DataError: a case lacks the label map or mask file that a concept is made from.
    """
    labels = basis.predictor.labels
    named = {name: labels.integers(name) for name in labels.all_names}
    helpers: dict[str, Concept] = {}
    concepts = []
    files = {}
    for name, given in keys.concepts.items():
        with blamed_on(basis.config, block, "concepts", name):
            if given.images is not None:
                _refuse_images(name, block)
                continue
            for source in given.sources:
                if source in keys.concepts:
                    _require_region(name, source, keys.concepts, block)
                    continue
                if source not in named:
                    others = [other for other in (*keys.concepts, *named) if other != name]
                    raise ConfigError(
                        f'{block}.concepts.{name}: no concept or label "{source}"',
                        hint=suggest(source, others),
                    )
                helpers[source] = Concept(source, LabelValues(named[source]))
            _refuse_circle(name, keys.concepts, block)
            if given.reads_grey and given.channel >= basis.reading.num_channels:
                raise ConfigError(
                    f"{block}.concepts.{name}: channel {given.channel} of "
                    f"{basis.reading.num_channels}",
                    hint="channels are counted from 0",
                )
            _refuse_strangers(name, given, basis, block)
        concepts.append(Concept(name, rule_of(given), keys.category_of(name)))
        if given.mask is not None:
            files[name] = given.mask
        if given.half is not None:
            _refuse_pictures(name, given.half, basis, block)
    plan = ConceptPlan(tuple(concepts), tuple(helpers.values()), files, basis, block)
    _check_files(plan)
    return plan


def notes_on_labels(keys: DissectionKeys, labels: Labels) -> list[str]:
    """Return a note on each concept of integers that are not among the labels.

    They may well stand in the label maps, which hold more than a network predicts; or they are
    slips, and an empty concept is found out only when all maps have been read.
    """
    integers = {name: labels.integers(name) for name in labels.all_names}
    known = [f"{' '.join(str(one) for one in own)} {name}" for name, own in integers.items()]
    shown = ", ".join(known[:MOST_LABELS])
    if len(known) > MOST_LABELS:
        shown += f", and {len(known) - MOST_LABELS} more"
    notes = []
    for name, block in keys.concepts.items():
        foreign = [value for value in block.labels or () if value not in labels.known_integers]
        if foreign:
            word = "is not" if len(foreign) == 1 else "are not"
            values = ", ".join(str(value) for value in foreign)
            notes.append(f"dissection.concepts.{name}: {values} {word} among the labels ({shown})")
    return notes


def _refuse_images(name: str, block: Block) -> None:
    """Refuse concepts that images of their own show, where a region of the cases is asked for."""
    if block == "dissection":
        raise ConfigError(
            f"dissection.concepts.{name}: images show what a concept looks like, but not where it "
            "is in a case",
            hint="give each case's region as a `mask` file; `esegeta concepts` takes `images`",
        )


def _require_region(
    name: str, source: str, blocks: Mapping[str, ConceptBlock], block: Block
) -> None:
    if blocks[source].images is not None:
        raise ConfigError(
            f'{block}.concepts.{name}: "{source}" is defined by example images, so it has no '
            "location in a case",
            hint="name a label, or a concept that is a region",
        )


def _refuse_pictures(name: str, side: str, basis: Basis, block: Block) -> None:
    """Refuse halves of the patient where an image does not say which side is which."""
    with blamed_on(basis.config, block, "concepts", name, "half"):
        for case in basis.cases:
            if is_picture(case.images[0]):
                raise ConfigError(
                    f"{block}.concepts.{name}: half: {side} is a side of the patient, but a "
                    f"picture has none ({case.images[0]})",
                    hint="give the image as NIfTI, or each case's half as a `mask` file",
                )


def rule_of(block: ConceptBlock) -> ConceptRule:
    """Return the rule that a block of keys stands for."""
    if block.labels is not None:
        return LabelValues(tuple(block.labels))
    if block.boundary_of is not None and block.within_mm is not None:
        return BoundaryBand(block.boundary_of, block.within_mm)
    if block.distance_to is not None and block.mm is not None:
        return Distance(block.distance_to, *block.mm)
    if block.not_of is not None:
        return Complement(block.not_of)
    if block.any_of is not None:
        return Together(tuple(block.any_of), every=False)
    if block.all_of is not None:
        return Together(tuple(block.all_of), every=True)
    if block.half is not None:
        return Half(block.half, block.of)
    if block.edges is not None:
        return Edges(block.edges, block.sigma_mm, block.channel)
    if block.bright is not None:
        return Bright(block.bright, block.channel)
    if block.textured is not None:
        return Textured(block.textured, block.sigma_mm, block.channel)
    if block.boxes is not None:
        return Boxes({case: tuple(boxes) for case, boxes in block.boxes.items()})
    if block.points is not None and block.radius_mm is not None:
        return Points({case: tuple(own) for case, own in block.points.items()}, block.radius_mm)
    return MaskFile(tuple(block.values))


def _refuse_strangers(name: str, given: ConceptBlock, basis: Basis, block: Block) -> None:
    """Refuse boxes and points of cases that there are not, or of another number of axes."""
    names = [case.name for case in basis.cases]
    drawn = {
        case: [len(point) for box in boxes for point in box]
        for case, boxes in (given.boxes or {}).items()
    } | {case: [len(point) for point in points] for case, points in (given.points or {}).items()}
    for case, lengths in drawn.items():
        if case not in names:
            raise ConfigError(
                f'{block}.concepts.{name}: no case "{case}"', hint=suggest(case, names)
            )
        ndim = basis.grids[case].ndim
        wrong = [length for length in lengths if length != ndim]
        if wrong:
            raise ConfigError(
                f"{block}.concepts.{name}: {wrong[0]} numbers, but the image of case {case} has "
                f"{ndim} axes",
                hint="give the voxel's index along each axis of the image",
            )


def _refuse_circle(name: str, blocks: Mapping[str, ConceptBlock], block: Block) -> None:
    def follow(at: str, path: tuple[str, ...]) -> None:
        for source in blocks[at].sources if at in blocks else ():
            if source == name:
                way = " of ".join((*path, source))
                raise ConfigError(
                    f"{block}.concepts.{name}: it is defined by itself ({way})",
                    hint="name a label or another concept",
                )
            if source not in path:
                follow(source, (*path, source))

    follow(name, (name,))


def _check_files(plan: ConceptPlan) -> None:
    basis = plan.basis
    for case in basis.cases if plan.needs_labels else ():
        if case.label is None:
            raise ConfigError(
                f"{basis.config.document.place((plan.block, 'concepts'))}: concepts are made of "
                f"labels, but case {case.name} has none",
                hint="give every case a `label:` file",
            )
    for name, pattern in plan.files.items():
        try:
            with blamed_on(basis.config, *_key_of_masks(plan, name)):
                for case in basis.cases:
                    check_case(replace(case, label=plan.mask_file(name, case)), basis.reading)
        except DataError as error:
            if CASE not in pattern and len(basis.cases) > 1:
                error.hint += f"; a `{CASE}` in it stands for the name of each case"
            raise


def _key_of_masks(plan: ConceptPlan, name: str) -> Path_:
    """Return the key that names the mask files of a concept: `mask`, or `masks`."""
    place: Path_ = (plan.block, "concepts", name)
    document = plan.basis.config.document
    keys = [(*place, key) for key in ("mask", "masks")]
    return next((key for key in keys if document.nearest(key) == key), place)
