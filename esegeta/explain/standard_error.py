"""How far a mean of few draws may be from the truth: the factor for its standard error."""

from __future__ import annotations

from scipy.special import stdtrit


def t_quantile(degrees: int) -> float:
    """Return how many standard errors a 95 % interval reaches to either side: Student's t.

    1.96 for many degrees of freedom, 2.36 for 7, 12.7 for 1.
    """
    return float(stdtrit(degrees, 0.975))


def confidence(degrees: int) -> dict[str, float | int]:
    """Return facts that turn a standard error into a 95 % interval: value +- t_95 errors."""
    return {"degrees_of_freedom": degrees, "t_95": t_quantile(degrees)}
