"""What units want to see: activation maximisation, priors of real images, and a look inside."""

from esegeta.features.ascend import Ascent, Bounds, Recipe, ascend, bounded
from esegeta.features.dream import Dream, tiles_of
from esegeta.features.experts import Denoiser, Expert, PatchMixture, cut_patches
from esegeta.features.filters import Filters, find_filters
from esegeta.features.fourier import Fourier, frequencies, high_frequency_share, octaves
from esegeta.features.generators import Code, Directions, Generator, PcaGenerator, Vae, VaeGenerator
from esegeta.features.inside import UnitTotals
from esegeta.features.measure import (
    Measured,
    RealPatches,
    distances_between,
    largest_apart,
    measure,
    stability,
)
from esegeta.features.objective import (
    At,
    DirectionObjective,
    DiversityObjective,
    LabelObjective,
    LayerObjective,
    PictureObjective,
    UnitObjective,
    WeightedObjectives,
)
from esegeta.features.parametrisation import (
    MultiScale,
    Normed,
    Parametrisation,
    Unmixed,
    Voxels,
    mixing_of,
)
from esegeta.features.penalties import ExpertCost, Penalty, PowerNorm, TotalVariation, scaled_to
from esegeta.features.subject import Subject
from esegeta.features.transforms import Blur, Draws, Transforms, best_shift, shifted, turned

__all__ = [
    "Ascent",
    "At",
    "Blur",
    "Bounds",
    "Code",
    "Denoiser",
    "DirectionObjective",
    "Directions",
    "DiversityObjective",
    "Draws",
    "Dream",
    "Expert",
    "ExpertCost",
    "Filters",
    "Fourier",
    "Generator",
    "LabelObjective",
    "LayerObjective",
    "Measured",
    "MultiScale",
    "Normed",
    "Parametrisation",
    "PatchMixture",
    "PcaGenerator",
    "Penalty",
    "PictureObjective",
    "PowerNorm",
    "RealPatches",
    "Recipe",
    "Subject",
    "TotalVariation",
    "Transforms",
    "UnitObjective",
    "UnitTotals",
    "Unmixed",
    "Vae",
    "VaeGenerator",
    "Voxels",
    "WeightedObjectives",
    "ascend",
    "best_shift",
    "bounded",
    "cut_patches",
    "distances_between",
    "find_filters",
    "frequencies",
    "high_frequency_share",
    "largest_apart",
    "measure",
    "mixing_of",
    "octaves",
    "scaled_to",
    "shifted",
    "stability",
    "tiles_of",
    "turned",
]
