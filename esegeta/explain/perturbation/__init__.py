"""Methods that replace parts of the image and see how the target moves."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.perturbation.meaningful import MeaningfulPerturbation
from esegeta.explain.perturbation.misure import MiSuRe
from esegeta.explain.perturbation.occlusion import Occlusion

PERTURBATION: dict[str, type[Explainer]] = {
    "occlusion": Occlusion,
    "meaningful_perturbation": MeaningfulPerturbation,
    "misure": MiSuRe,
}
"""The family's methods by the names that configs use."""

__all__ = ["PERTURBATION", "MeaningfulPerturbation", "MiSuRe", "Occlusion"]
