"""Examples: which cases speak for a network, which taught it what, and what it seems to go by."""

from esegeta.examples.agreement import RankAgreement, rank_agreement
from esegeta.examples.criticisms import Criticisms, choose_criticisms, witness_of
from esegeta.examples.curvature import (
    Curvature,
    CurvedInfluence,
    curvature_of,
    curvatures_of,
    curved_at,
    curved_influence,
)
from esegeta.examples.descriptors import describe_regions
from esegeta.examples.gradients import (
    Example,
    Loss,
    ParameterSlopes,
    is_within,
    last_module,
    learning,
    loss_slopes,
    module_of,
    target_slopes,
    window_slopes,
)
from esegeta.examples.influence import (
    CheckpointInfluence,
    InfluenceQuery,
    Pull,
    influence_at,
    trace,
)
from esegeta.examples.items import ItemKind, Numbering, mostly_in, regions_of, thumbnails
from esegeta.examples.kernel import distances, median_distance, radial_kernel
from esegeta.examples.neighbours import Neighbour, find_neighbours
from esegeta.examples.prototypes import Prototypes, choose_prototypes, discrepancy
from esegeta.examples.surrogate import (
    Fidelity,
    Surrogate,
    SurrogateData,
    SurrogateKind,
    fit_surrogate,
    measure_fidelity,
    slab_groups,
)

__all__ = [
    "CheckpointInfluence",
    "Criticisms",
    "Curvature",
    "CurvedInfluence",
    "Example",
    "Fidelity",
    "InfluenceQuery",
    "ItemKind",
    "Loss",
    "Neighbour",
    "Numbering",
    "ParameterSlopes",
    "Prototypes",
    "Pull",
    "RankAgreement",
    "Surrogate",
    "SurrogateData",
    "SurrogateKind",
    "choose_criticisms",
    "choose_prototypes",
    "curvature_of",
    "curvatures_of",
    "curved_at",
    "curved_influence",
    "describe_regions",
    "discrepancy",
    "distances",
    "find_neighbours",
    "fit_surrogate",
    "influence_at",
    "is_within",
    "last_module",
    "learning",
    "loss_slopes",
    "measure_fidelity",
    "median_distance",
    "module_of",
    "mostly_in",
    "radial_kernel",
    "rank_agreement",
    "regions_of",
    "slab_groups",
    "target_slopes",
    "thumbnails",
    "trace",
    "window_slopes",
    "witness_of",
]
