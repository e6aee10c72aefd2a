"""What a user should know of a network over windows before it starts: passes, outputs, labels."""

from __future__ import annotations

from esegeta.axes import shape_text
from esegeta.predict.predictor import Predictor
from esegeta.predict.probabilities import probabilities_in
from esegeta.predict.probe import Probe, empty_window
from esegeta.predict.window_plan import WindowPlan


def notes_on(predictor: Predictor, probe: Probe, num_channels: int) -> tuple[str, ...]:
    """Return a sentence on each thing that is easily overlooked; none where all is plain.

    Args:
        predictor: the network over windows.
        probe: what the network made of a window of zeros.
        num_channels: C.
    """
    window = empty_window(predictor.network, predictor.plan.size, num_channels)
    outputs = (probe.note, probabilities_in(predictor, window, probe.logits))
    return (
        *(note for note in outputs if note),
        *predictor.labels.notes(),
        *notes_on_windows(predictor.plan),
    )


def notes_on_windows(plan: WindowPlan) -> tuple[str, ...]:
    """Say what a window costs, and what happens to an output of another shape."""
    notes = []
    if len(plan.passes) > 1:
        members, flips = plan.num_members, len(plan.passes) // plan.num_members
        factors = [f"{flips} mirrored passes"] if flips > 1 else []
        factors += [f"{members} members"] if members > 1 else []
        notes.append(
            f"{' x '.join(factors)} = {len(plan.passes)} forward passes per window; the mean of "
            f"their {plan.average} is explained"
        )
    if plan.coverage is None:
        return tuple(notes)
    positions = shape_text(plan.coverage.positions)
    text = f"the network turns a window of {shape_text(plan.size)} into {positions}"
    if plan.output != plan.size:
        text += (
            f", which cover the {shape_text(plan.output)} voxels in its middle: those tile the "
            f"volume, and windows reach beyond them (inference.padding: {plan.padding})"
        )
    if plan.coverage.positions != plan.coverage.voxels:
        text += ", which are interpolated linearly to voxels"
    return (*notes, text)
