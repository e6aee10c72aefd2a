"""From the config's concepts to rules that are known to work for every case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from esegeta.config.dissection import ConceptBlock, DissectionKeys
from esegeta.dissect import (
    Boundary,
    Complement,
    Concept,
    Distance,
    Edges,
    Ground,
    Half,
    LabelValues,
    MaskFile,
    Rule,
    Together,
)
from esegeta.errors import ConfigError, suggest
from esegeta.model import file_sha256
from esegeta.run import Basis
from esegeta.run.checks import blamed_on
from esegeta.volume import Case, check_case, read_case, read_label_map


@dataclass(frozen=True, eq=False)
class ConceptPlan:
    """The concepts of a dissection and the files that they come from.

    Args:
        concepts: what units are held against.
        helpers: labels that concepts are made of and that are no concepts themselves.
        files: pattern of the mask file, by concept.
        basis: for paths and cases.
    """

    concepts: tuple[Concept, ...]
    helpers: tuple[Concept, ...]
    files: Mapping[str, str]
    basis: Basis

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the concepts, in the config's order."""
        return tuple(concept.name for concept in self.concepts)

    @property
    def needs_labels(self) -> bool:
        """Whether any concept is made of the cases' label maps."""
        return any(concept.rule.needs_labels for concept in (*self.concepts, *self.helpers))

    def ground(self, case: Case) -> Ground:
        """Read what the concepts of a case are made of."""
        basis = self.basis
        files = replace(case, label=case.label if self.needs_labels else None)
        volume, truth = read_case(files, basis.preprocess, basis.reading)
        volume = volume.to(basis.device)
        masks = {
            name: read_label_map(
                basis.config.find_file(pattern.replace("{case}", case.name)),
                volume,
                basis.preprocess,
            )
            for name, pattern in self.files.items()
        }
        return Ground(volume, truth, masks)

    def fingerprint(self, case: Case) -> object:
        """Return all that decides the masks of a case beside its image, as plain values."""
        find = self.basis.config.find_file
        paths = {
            name: find(pattern.replace("{case}", case.name)) for name, pattern in self.files.items()
        }
        label = case.label if self.needs_labels else None
        return {
            "rules": [repr(concept) for concept in (*self.concepts, *self.helpers)],
            "label": None if label is None else file_sha256(label),
            "masks": {name: file_sha256(path) for name, path in paths.items()},
        }


def plan_concepts(keys: DissectionKeys, basis: Basis) -> ConceptPlan:
    """Build the concepts of a config and check them against every case.

    Raises:
        ConfigError: a concept is made of one that is not there, or of itself.
        DataError: a case lacks the label map or mask file that a concept is made of.
    """
    labels = {name: integer for integer, name in basis.config.keys.labels.items()}
    helpers: dict[str, Concept] = {}
    concepts = []
    files = {}
    for name, block in keys.concepts.items():
        with blamed_on(basis.config, "dissection", "concepts", name):
            for source in block.sources:
                if source in keys.concepts:
                    continue
                if source not in labels:
                    raise ConfigError(
                        f'dissection.concepts.{name}: no concept or label "{source}"',
                        hint=suggest(source, [*keys.concepts, *labels]),
                    )
                helpers[source] = Concept(source, LabelValues((labels[source],)))
            _refuse_circle(name, keys.concepts)
            if block.edges is not None and block.channel >= basis.reading.num_channels:
                raise ConfigError(
                    f"dissection.concepts.{name}: channel {block.channel} of "
                    f"{basis.reading.num_channels}",
                    hint="channels are counted from 0",
                )
        concepts.append(Concept(name, rule_of(block), keys.category_of(name)))
        if block.mask is not None:
            files[name] = block.mask
    plan = ConceptPlan(tuple(concepts), tuple(helpers.values()), files, basis)
    _check_files(plan)
    return plan


def rule_of(block: ConceptBlock) -> Rule:
    """Return the rule that a block of keys stands for."""
    if block.labels is not None:
        return LabelValues(tuple(block.labels))
    if block.boundary_of is not None and block.within_mm is not None:
        return Boundary(block.boundary_of, block.within_mm)
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
    return MaskFile(tuple(block.values))


def _refuse_circle(name: str, blocks: Mapping[str, ConceptBlock]) -> None:
    def follow(at: str, path: tuple[str, ...]) -> None:
        for source in blocks[at].sources if at in blocks else ():
            if source == name:
                way = " of ".join((*path, source))
                raise ConfigError(
                    f"dissection.concepts.{name}: it is made of itself ({way})",
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
                f"{basis.config.document.place(('dissection', 'concepts'))}: concepts are made of "
                f"labels and case {case.name} has none",
                hint="give every case a `label:` file",
            )
    for name, pattern in plan.files.items():
        with blamed_on(basis.config, "dissection", "concepts", name):
            for case in basis.cases:
                path = basis.config.find_file(pattern.replace("{case}", case.name))
                check_case(replace(case, label=path), basis.reading)
