"""What `esegeta examples` and `validate` print of a study of examples."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from esegeta.cli.help_page import console_for_tables
from esegeta.workflow import Outcome
from esegeta.workflow.examples import ExampleStudy


def show_examples(study: ExampleStudy) -> None:
    """Print what `esegeta examples` would do."""
    keys, basis = study.keys, study.basis
    print(f"{basis.config.document.path}: valid for `esegeta examples`")
    print(f"  cases: {', '.join(case.name for case in basis.cases)}")
    if study.layer is not None:
        print(
            f"  {keys.prototypes} prototypes and {keys.criticisms} criticisms of each group "
            f"({', '.join(study.groups)}), of: {keys.of}, by layer {study.layer.name} "
            f"({study.layer.num_units} units)"
        )
    plan = study.influence
    if plan is not None:
        count, files = len(plan.example_names), len(plan.checkpoints)
        print(
            f"  influence of {count} training examples on "
            f"{', '.join(target.name for target in plan.targets)} at {files} checkpoints"
        )
        block = plan.keys.leave_one_out
        if block is not None:
            num = len(block.seeds) * (count + 1)
            print(f"  {num} networks of {plan.recipe.iterations} iterations, each without one")
    if study.surrogate is not None:
        print(f"  surrogates: {study.surrogate.kind}, of {study.surrogate_of}s")
    print(f"  results go to {study.root}")
    for note in study.notes:
        print(f"  note: {note}")


def show_found(outcome: Outcome) -> None:
    """Print the prototypes and criticisms of each group, and how faithful surrogates are."""
    contents = [ended.content for ended in outcome.results if ended.status != "failed"]
    groups = [one for one in contents if one.get("rows")]
    if groups:
        table = Table("group", "items", "prototypes", "criticisms", box=None, pad_edge=False)
        for one in groups:
            names = [
                ", ".join(escape(str(row[2])) for row in one["rows"] if row[0] == role)
                for role in ("prototype", "criticism")
            ]
            table.add_row(escape(one["group"]), str(one["items"]), *names)
        console_for_tables().print(table)
    for one in contents:
        if one.get("fidelity") is not None:
            drawn = "drawn" if one["drawn"] else "not drawn"
            print(f"surrogate of {one['label']}: fidelity {one['fidelity']:.2f}, {drawn}")
