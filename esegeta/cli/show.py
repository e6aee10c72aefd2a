"""What commands print of experiments, layers, dissections, retrainings and comparisons."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from esegeta.axes import shape_text
from esegeta.cli.help_page import console_for_tables
from esegeta.cli.show_examples import show_examples
from esegeta.cli.show_features import show_features, show_inspection
from esegeta.cli.show_similarity import show_comparison
from esegeta.compare import (
    Study,
    held_up_by_random,
    nulls_sentence,
    num_ranked_scores,
    standings,
    testing_sentence,
)
from esegeta.config import RunConfig
from esegeta.model import Layer
from esegeta.volume import Grid
from esegeta.workflow import (
    Basis,
    Experiment,
    Outcome,
    build_experiment,
    build_network,
    build_predictions,
    probe_network,
)
from esegeta.workflow.case_checks import check_whole_cases
from esegeta.workflow.checks import probe_layers
from esegeta.workflow.concepts import ConceptRun, build_concepts
from esegeta.workflow.dissect import Dissection, build_dissection
from esegeta.workflow.estimate import memory_of, passes_of
from esegeta.workflow.examples import build_examples
from esegeta.workflow.features import build_features
from esegeta.workflow.inspect import build_inspection
from esegeta.workflow.networks import chosen_output
from esegeta.workflow.one_result import OneResult
from esegeta.workflow.record import prediction_rows
from esegeta.workflow.retrain import Retraining, build_retraining
from esegeta.workflow.serves import asked_words
from esegeta.workflow.similarity import build_comparison

MOST_ROWS = 12


def show_layers(config: RunConfig) -> None:
    """Print a config's network as a tree, with the output shapes for one window."""
    network = build_network(config).network
    reading, plan, _ = probe_network(config, network)
    word = "channel" if reading.num_channels == 1 else "channels"
    taken = f"{shape_text(plan.size)}, {reading.num_channels} {word}"
    print(f"one window of {taken}; shapes are C x spatial")
    for layer in probe_layers(network, plan, reading, output=chosen_output(config)):
        if not layer.holds_weight:
            print(_layer_line(layer))


def show_experiment(experiment: Experiment) -> None:
    """Print what a run would do."""
    keys = experiment.config.keys
    num_tasks = len(experiment.cases) * len(experiment.targets) * len(experiment.methods)
    print(f"{experiment.config.document.path}: valid")
    print(f"  cases: {', '.join(case.name for case in experiment.cases)}")
    grids = experiment.network_grids()
    show_grids(experiment, grids)
    print(f"  targets: {', '.join(plan.name for plan in experiment.targets)}")
    print(f"  methods: {', '.join(experiment.methods)}")
    print(f"  scores: {', '.join(experiment.scores) or 'none'}")
    show_capability(experiment)
    show_estimate(experiment, grids)
    show_proof(experiment)
    print(f"  windows of {shape_text(keys.inference.window)} on {experiment.device}")
    print(f"  {num_tasks} tasks into {experiment.root}")
    for note in experiment.notes:
        print(f"  note: {note}")


def show_capability(basis: Basis) -> None:
    """Print what can be done with the network, and what the config asks of it."""
    capability = basis.capability
    print(f"  network: {capability.what}; {capability.words()}")
    print(f"  asked for: {asked_words(basis.config)}")


def show_estimate(experiment: Experiment, grids: Mapping[str, Grid]) -> None:
    """Print how many passes each method takes, and about how much memory."""
    for line in passes_of(experiment, grids):
        print(f"  passes: {line}")
    print(f"  memory: {memory_of(experiment, grids).words()}")


def show_proof(experiment: Experiment) -> None:
    """Print what would prove that predictions are those of the user's own pipeline."""
    proved = [case.name for case in experiment.cases if case.expected is not None]
    least = experiment.config.keys.least_dice
    print(f"  prediction: {experiment.config.keys.prediction.resample} on the grid of the image")
    if proved:
        print(f"  expected: {', '.join(proved)}; Dice of at least {least:g}")
    else:
        print(f"  note: {UNPROVED}")


UNPROVED = (
    "no case has `expected`, so nothing proves that this is your own pipeline's prediction; give "
    "your segmentation of a case and run `esegeta predict` (docs/pipeline.md)"
)


def show_predicted(outcome: Outcome, least: float) -> None:
    """Print the Dice of each case and label with what was expected, and what that proves."""
    rows = list(prediction_rows(outcome.results))
    compared = [row for row in rows if row.dice is not None]
    if not compared:
        if rows:
            print(f"note: {UNPROVED}")
        return
    table = Table("case", "label", "Dice", "voxels expected", "predicted", box=None, pad_edge=False)
    for row in compared:
        sizes = (str(row.num_voxels_expected), str(row.num_voxels_predicted))
        table.add_row(escape(row.case), escape(row.label), f"{row.dice:.4f}", *sizes)
    console_for_tables().print(table)
    others = {row.case for row in compared if row.dice is not None and row.dice < least}
    count = len({row.case for row in compared})
    word = "case" if count == 1 else "cases"
    if others:
        print(
            f"NOT your pipeline's prediction in {len(others)} of {count} {word}: a Dice is "
            f"below {least:g}; docs/pipeline.md lists the usual causes"
        )
    else:
        print(f"your pipeline's prediction in {count} {word}: every Dice is at least {least:g}")


def show_grids(basis: Basis, grids: Mapping[str, Grid]) -> None:
    """Print the grid on which the network sees each case, beside that of its file."""
    for name, grid in grids.items():
        file = basis.grids[name]
        same = "as in the file" if grid.same_as(file) else f"the file has {_voxels(file)}"
        print(f"  {name}: the network sees {_voxels(grid)}, {same}")


def _voxels(grid: Grid) -> str:
    spacing = "x".join(f"{length:.4g}" for length in grid.spacing_mm)
    return f"{shape_text(grid.shape)} voxels of {spacing} mm"


def show_retraining(retraining: Retraining) -> None:
    """Print what retraining would do."""
    keys, recipe = retraining.keys, retraining.recipe
    print(f"  retrain: {', '.join(keys.modes)} by {', '.join(retraining.methods)}")
    print(
        f"  {len(retraining.trainings())} networks of {recipe.iterations} iterations of "
        f"{recipe.batch_size} patches of {shape_text(recipe.patch)} into {retraining.root}"
    )


def _layer_line(layer: Layer) -> str:
    depth = layer.name.count(".") + 1 if layer.name else 0
    shape = "not run" if layer.output_shape is None else shape_text(layer.output_shape[1:])
    notes = [f"  runs {layer.runs} times"] if layer.runs > 1 else []
    if layer.returns not in ("", "a tensor"):
        notes.append(f"  returns {layer.returns}")
    line = f"{layer.name or '(network)'}  {layer.kind}  {shape}  {layer.num_parameters} parameters"
    return f"{'  ' * depth}{line}{''.join(notes)}"


def show_prediction_alone(config: RunConfig, *, device: str | None) -> None:
    """Check a config with nothing but cases to predict, and print what would be predicted."""
    keys = config.keys
    experiment = build_predictions(config, device=device)
    check_whole_cases(config, experiment.cases, experiment.reading)
    print(f"{config.document.path}: valid for `esegeta predict`; a run needs targets and methods")
    print(f"  cases: {', '.join(case.name for case in experiment.cases)}")
    show_proof(experiment)
    show_grids(experiment, experiment.network_grids())
    print(f"  windows of {shape_text(keys.inference.window)} on {experiment.device}")
    print(f"  results go to {experiment.root}")
    for note in experiment.notes:
        print(f"  note: {note}")


def show_checked(config: RunConfig, *, device: str | None) -> None:
    """Check every block of a config, and only then print what it would do.

    Raises:
        EsegetaError: the first thing found wrong with any of them.
    """
    keys = config.keys
    if not keys.stands_alone and len(keys.missing_of_run) == 2:
        show_prediction_alone(config, device=device)
        return
    dissection = None if keys.dissection is None else build_dissection(config, device=device)
    concepts = None if keys.concepts is None else build_concepts(config, device=device)
    similarity = None if keys.similarity is None else build_comparison(config, device=device)
    study = None if keys.examples is None else build_examples(config, device=device)
    features = None if keys.features is None else build_features(config, device=device)
    inspection = None if keys.inspect is None else build_inspection(config, device=device)
    alone = (dissection, concepts, similarity, study, features, inspection)
    basis = next((one.basis for one in alone if one is not None), None)
    if basis is not None:
        check_whole_cases(basis.config, basis.cases, basis.reading)
    if not keys.missing_of_run or not keys.stands_alone:
        experiment = build_experiment(config, device=device)
        if basis is None:
            check_whole_cases(config, experiment.cases, experiment.reading)
        retraining = None if keys.retrain is None else build_retraining(experiment)
        show_experiment(experiment)
        if retraining is not None:
            show_retraining(retraining)
    if dissection is not None:
        show_dissection(dissection)
    if similarity is not None:
        show_comparison(similarity)
    if study is not None:
        show_examples(study)
    if features is not None:
        show_features(features)
    if inspection is not None:
        show_inspection(inspection)
    if concepts is not None:
        show_concepts(concepts)


def show_dissection(dissection: Dissection) -> None:
    """Print what a dissection would do."""
    keys = dissection.keys
    layers = ", ".join(f"{layer.name} ({layer.num_units})" for layer in dissection.layers)
    print(f"{dissection.basis.config.document.path}: valid for a dissection")
    print(f"  cases: {', '.join(case.name for case in dissection.basis.cases)}")
    show_grids(dissection.basis, dissection.grids)
    show_capability(dissection.basis)
    print(f"  layers (units): {layers}")
    print(f"  concepts: {', '.join(dissection.concepts.names)}")
    print(f"  quantile {keys.quantile:g}; named above IoU {keys.min_iou:g}, q <= {keys.q_value:g}")
    print(f"  results go to {dissection.folder}")
    for note in dissection.basis.notes:
        print(f"  note: {note}")


def show_concepts(run: ConceptRun) -> None:
    """Print what would be tested."""
    keys = run.keys
    layers = ", ".join(f"{layer.name} ({layer.num_units})" for layer in run.layers)
    print(f"{run.basis.config.document.path}: valid for concepts")
    groups = f", {run.slabs} slabs each" if run.slabs > 1 else ""
    print(f"  cases: {', '.join(case.name for case in run.basis.cases)}{groups}")
    show_grids(run.basis, run.grids)
    show_capability(run.basis)
    print(f"  layers (units): {layers}")
    named = ", ".join(run.names) or "none named"
    found = f"; {keys.discover.count} to be discovered in each layer" if keys.discover else ""
    print(f"  concepts: {named}{found}")
    print(f"  targets: {', '.join(plan.name for plan in run.targets)}")
    print(f"  against {keys.randoms} random concepts; level {keys.level:g} after Holm")
    print(f"  results go to {run.folder}")
    for note in run.basis.notes:
        print(f"  note: {note}")


def show_dissected(dissected: OneResult, folder: Path) -> None:
    """Print the detectors of each layer."""
    table = Table("layer", "units", "named", "unique", "detectors", box=None, pad_edge=False)
    for name, layer in dissected.record["layers"].items():
        found = ", ".join(_concept(concept, units) for concept, units in layer["detectors"].items())
        numbers = (layer["units"], layer["named_units"], layer["unique_detectors"])
        table.add_row(escape(name), *(str(number) for number in numbers), escape(found) or "none")
    console_for_tables().print(table)
    took = "already finished" if dissected.skipped else f"in {dissected.seconds:.1f} s"
    total = dissected.record["named_units"], dissected.record["units"]
    print(f"{total[0]} of {total[1]} units named, {took}; results in {folder}")


def _concept(name: str, units: list[Any]) -> str:
    return f"{name} {len(units)}"


def show_study(study: Study, root: Path, *, quiet: bool) -> None:
    """Print warnings to the error stream and, unless quiet, the leaderboard."""
    failures = study.merged.failures
    degenerate = sum(one.is_degenerate for one in failures)
    for note in study.merged.notes:
        print(f"warning: {note}", file=sys.stderr)
    if failures:
        others = len(failures) - degenerate
        print(
            f"warning: {degenerate} degenerate maps are excluded and {others} other tasks failed; "
            f"they are named in {root / 'report.md'}",
            file=sys.stderr,
        )
    if quiet:
        return
    console = console_for_tables()
    if num_ranked_scores(study):
        console.print(_leaderboard(study))
        hidden = len(study.merged.competitors) - MOST_ROWS
        if hidden > 0:
            console.print(f"... and {hidden} more", highlight=False)
    else:
        print("no ranks: no score has two competitors that can be ranked")
    print(nulls_sentence(study))
    print(testing_sentence(study))
    print(f"leaderboard in {root / 'leaderboard.md'}; details in {root / 'report.md'}")


def _leaderboard(study: Study) -> Table:
    """Return the best competitors by mean rank; daggers as in leaderboard.md."""
    order = standings(study)[:MOST_ROWS]
    weak = {competitor for _, competitor in held_up_by_random(study)}
    families = [
        family for family in study.families if any(family in one.by_family for one in order)
    ]
    table = Table(box=None, pad_edge=False)
    table.add_column("mean ranks")
    for head in (*families, "all"):
        table.add_column(head, justify="right")
    for one in order:
        name = escape(study.merged.label(one.competitor))
        name = f"[italic]{name}[/]" if one.competitor.null else name
        name += " †" if one.competitor in weak else ""
        ranks = [one.by_family.get(family) for family in families]
        cells = ["" if rank is None else f"{rank:.2f}" for rank in ranks]
        table.add_row(name, *cells, f"{one.overall:.2f}" if one.num_scores else "")
    if weak:
        table.caption = "†: does not beat the random map on a faithfulness score"
        table.caption_justify = "left"
    return table
