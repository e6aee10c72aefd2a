"""What must happen: every method on every network of the zoo, and the page that shows it.

A method is right unless it stands here; `accounted` holds for those of `LEDGERS`. Run as a module
this prints the table of docs/networks.md.
"""

from __future__ import annotations

from collections import defaultdict

from tests.zoo.expected import EXPECTED
from tests.zoo.networks import ZOO
from tests.zoo.outcomes import LEDGERS, Kind, Outcome

REASONS: dict[str, tuple[str, str]] = {
    "path": (
        "completeness: .* apart",
        "a path or random draws that have not converged in the few steps taken here; from a "
        "flat baseline, instance norms put nearly all of the change into the first thousandth "
        "of the path",
    ),
    "silent": (
        "zero everywhere; (nothing in this layer|no channel of this layer|Grad-CAM of this layer)",
        "a map of positive evidence only, at a layer whose evidence is all negative",
    ),
    "unit": (
        "nothing flows through this unit",
        "a unit that is inactive on this image",
    ),
    "nothing": (
        "zero everywhere; (nothing positive reaches|nothing excites|the target and its opposite)",
        "a rule that passes only positive values, where none arrive",
    ),
    "cancel": (
        "the gradients at layer .* cancel in every channel|units of layer .* cancel",
        "a mean over a layer that is zero because of a norm before or after it",
    ),
    "dice": (
        "the baseline alone keeps Dice|no mask smaller than|no voxel of label .* predicted",
        "an untrained network, whose prediction does not depend on the image or does not "
        "contain the label",
    ),
    "mask": (
        "the mask is no better than|the target is higher on the baseline",
        "an optimisation that found no better mask in the two steps taken here",
    ),
    "signals": (
        "magnitude: the map (reaches|'s values)|magnitude: the map's values",
        "signals that each operation sums over all its outputs without normalisation",
    ),
    "float32": (
        "the map exceeds what float32 holds",
        "the same, beyond the range of float32",
    ),
}
"""Why a method warns or refuses: how it says so, and what is behind it."""


def expected_of(network: str, method: str) -> tuple[Kind, str]:
    """Return what must become of a method, and the reason's name."""
    kind, _, reason = EXPECTED.get(network, {}).get(method, "").partition(": ")
    if not kind:
        return ("accounted" if method in LEDGERS else "right"), ""
    return kind, reason  # type: ignore[return-value]


def reason_of(found: Outcome) -> str:
    """Return the name of the reason that an outcome gives, or its words where there is none."""
    import re

    for name, (pattern, _) in REASONS.items():
        if re.search(pattern, found.words):
            return name
    return found.words


def markdown(methods: list[str]) -> str:
    """Return the table of docs/networks.md."""
    lines = [
        "| network | from | contains | correct | with a warning | refused |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, entry in ZOO.items():
        by_kind: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for method in methods:
            kind, reason = expected_of(name, method)
            by_kind[kind][reason].append(method)
        fine = sum(len(by_kind[kind][""]) for kind in ("right", "accounted"))
        cells = [_cell(by_kind[kind]) for kind in ("warned", "refused")]
        words = f"{entry.words}{'; twin' if entry.twin else ''}"
        lines.append(f"| {name} | {entry.origin} | {words} | {fine} | {cells[0]} | {cells[1]} |")
    lines.append("")
    lines += [f"- *{name}*: {text}." for name, (_, text) in REASONS.items()]
    return "\n".join(lines) + "\n"


def _cell(reasons: dict[str, list[str]]) -> str:
    return "; ".join(
        f"*{reason}*: {', '.join(f'`{name}`' for name in names)}"
        for reason, names in sorted(reasons.items())
    )


if __name__ == "__main__":
    from esegeta.explain import EXPLAINERS

    print(markdown(list(EXPLAINERS)), end="")
