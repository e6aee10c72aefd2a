"""Multipliers of nonlinear functions: what DeepLIFT sends back instead of a derivative.

For a function f between its inputs at the baseline a' and at the image a, a multiplier m is such
that `<m, a - a'> = <g, f(a) - f(a')>` for the multiplier g that arrives. The rescale rule is the
mean derivative along the straight line from a' to a of an element-wise function. The same mean,

    m = integral_0^1 J_f(a' + alpha (a - a'))^T g dalpha      (Aumann and Shapley)

does it for every function: norms and products have it in closed form, others by quadrature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from esegeta.predict import line_nodes

TensorFunction = Callable[..., Tensor]

RELATIVE_STEP = 1e-7
"""Below this change a secant would be rounding; about the spacing of float32."""

NORM_NODES = 64
TINY = 1e-200

FLAT = 1e-3
"""A row is flat at the baseline where its variance there is below this fraction of the image's."""


def secant(function: TensorFunction, start: Tensor, end: Tensor) -> Tensor:
    """Return `(f(a) - f(a')) / (a - a')` of an element-wise function, the slope where a is a'.

    In float64: the difference of two float32 values near each other would be all rounding.
    """
    low, high = start.double(), end.double()
    step = RELATIVE_STEP * (1 + low.abs())
    # From below, as torch takes the slope of a ReLU at zero.
    high = torch.where((high - low).abs() < step, low - step, high)
    rise = function(high).sub_(function(low))
    return rise.div_(high.sub_(low)).to(end.dtype)


def sloped(tensor: Tensor, function: TensorFunction, slope: Tensor) -> Tensor:
    """Return an element-wise function of a tensor, whose gradient has this slope."""
    result: Tensor = _Sloped.apply(tensor, function, slope)  # type: ignore[no-untyped-call]
    return result


def along_line(
    function: TensorFunction, starts: Sequence[Tensor], ends: Sequence[Tensor], num_nodes: int
) -> Tensor:
    """Return a function of tensors, whose gradient is the mean of those along the line to them.

    All move from their starts to their ends at once, whether or not a gradient by them is wanted.
    By Gauss-Legendre quadrature: exact where f is a polynomial of degree `2 * num_nodes`.
    """
    result: Tensor = _AlongLine.apply(  # type: ignore[no-untyped-call]
        function, tuple(starts), num_nodes, *ends
    )
    return result


def normalised(
    function: TensorFunction,
    start: Tensor,
    end: Tensor,
    scale: Tensor | None,
    num_rows: int,
    eps: float,
    centred: TensorFunction,
) -> Tensor:
    """Return a norm of a tensor, whose gradient is the mean of those along the line to it.

    Not so for rows that are flat at the baseline: see `_Normalised`.

    Args:
        function: the norm; divides each row, less its mean perhaps, by its deviation.
        start: the tensor at the baseline.
        end: the tensor at the image.
        scale: the norm's weight, to be multiplied with its output, or None.
        num_rows: number of groups of values that are normalised, each contiguous in the tensor.
        eps: number added to the variance.
        centred: what of each row `R N` is normalised: `less_mean` of it, or the row `as_it_is`.
    """
    result: Tensor = _Normalised.apply(  # type: ignore[no-untyped-call]
        end, function, start, scale, num_rows, eps, centred
    )
    return result


def less_mean(rows: Tensor) -> Tensor:
    """Return rows less their means."""
    return rows - rows.mean(dim=1, keepdim=True)


def as_it_is(rows: Tensor) -> Tensor:
    """Return rows: a root mean square norm knows no mean."""
    return rows


def pooled(pool: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, end: Tensor) -> Tensor:
    """Return a max pooling of a tensor, whose gradient is shared as captum does.

    Where the image's maximum is the larger, the change goes to its voxel, where the baseline's is,
    to that one's; voxels that are part of several maxima collect, which captum's unpooling drops.

    Args:
        pool: returns the maxima and where they are, as an index into all spatial axes.
        start: the tensor at the baseline.
        end: the tensor at the image.
    """
    result: Tensor = _Pooled.apply(end, pool, start)  # type: ignore[no-untyped-call]
    return result


def between(start: Tensor, end: Tensor, node: float) -> Tensor:
    """Return a point on the line; what does not move may be infinite, as masked attention is."""
    return torch.where(start == end, end, start.lerp(end, node))


def _no_view(output: Tensor) -> Tensor:
    """Return an output that the network may write over; torch refuses that for a view."""
    return output.data if output._is_view() else output


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, function: TensorFunction, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return _no_view(function(tensor))

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return arriving * slope, None, None


class _AlongLine(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        function: TensorFunction,
        starts: tuple[Tensor, ...],
        num_nodes: int,
        *ends: Tensor,
    ) -> Tensor:
        ctx.function = function
        ctx.num_nodes = num_nodes
        kind = ends[0].device.type
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        if num_nodes == 1:  # the middle of the line is all that is needed
            middles = [between(start, end, 0.5) for start, end in zip(starts, ends, strict=True)]
            ctx.save_for_backward(*middles, *middles)
        else:
            ctx.save_for_backward(*starts, *ends)
        return _no_view(function(*ends))

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        starts, ends = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        wanted = [place for place in range(len(ends)) if ctx.needs_input_grad[3 + place]]
        totals = {place: torch.zeros_like(ends[place]) for place in wanted}
        for node, weight in line_nodes(ctx.num_nodes):
            points = [between(start, end, node) for start, end in zip(starts, ends, strict=True)]
            leaves = [points[place].requires_grad_(True) for place in wanted]
            with torch.enable_grad(), torch.autocast(*ctx.autocast):
                output = ctx.function(*points)
            slopes = torch.autograd.grad(output, leaves, arriving)
            for place, slope in zip(wanted, slopes, strict=True):
                totals[place].add_(slope, alpha=weight)
        return None, None, None, *(totals.get(place) for place in range(len(ends)))


class _Normalised(torch.autograd.Function):
    """The norm's mean gradient, where only a few numbers per row are integrals.

    With u(alpha) = u0 + alpha d the centred row on the line, v its variance and g the arriving
    multiplier times the weight, the gradient of a norm at alpha is
    `(g - mean g) v^-1/2 - u mean(g u) v^-3/2`, and v is quadratic in alpha.

    From a baseline without contrast v starts at the norm's epsilon, where the slope is hundreds of
    times that at the image, and a chain of such norms would multiply these. There the change of
    the output, with c the centred row and s its deviation, is split at the image's deviation,

        c/s - c'/s' = (c - c')/s + c' (1/s - 1/s'),   (s^2 - s'^2) = mean((c + c') (c - c'))

    which adds up as exactly, and whose multipliers are those of the norm held at the image.
    """

    @staticmethod
    def forward(
        ctx: Any,
        end: Tensor,
        function: TensorFunction,
        start: Tensor,
        scale: Tensor | None,
        num_rows: int,
        eps: float,
        centred: TensorFunction,
    ) -> Tensor:
        ctx.save_for_backward(start, end)
        ctx.scale, ctx.num_rows, ctx.eps, ctx.centred = scale, num_rows, eps, centred
        return _no_view(function(end))

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Any, ...]:
        start, end = (tensor.float().reshape(ctx.num_rows, -1) for tensor in ctx.saved_tensors)
        scaled = arriving if ctx.scale is None else arriving * ctx.scale
        g = scaled.float().reshape(ctx.num_rows, -1)
        d, u = ctx.centred(end - start), ctx.centred(start)
        a, b, c = _row_mean(d, d), _row_mean(u, d), _row_mean(u, u) + ctx.eps
        first, cubed = _variance_integrals(a, b, c, a * ctx.eps)
        by_u, by_d = _row_mean(g, u), _row_mean(g, d)
        there, here = c, a + 2 * b + c  # the variances, each with epsilon
        flat = there - ctx.eps < FLAT * (here - ctx.eps)
        held = by_u / (here.sqrt() * there.sqrt() * (here.sqrt() + there.sqrt()))
        first = torch.where(flat, here.rsqrt(), first)
        of_u = torch.where(flat, 2 * held, by_u * cubed[0] + by_d * cubed[1])
        of_d = torch.where(flat, held, by_u * cubed[1] + by_d * cubed[2])
        result = ctx.centred(g) * first.to(g)
        result.addcmul_(u, of_u.to(g), value=-1)
        result.addcmul_(d, of_d.to(g), value=-1)
        return result.reshape(arriving.shape).to(arriving.dtype), *(None,) * 6


def _row_mean(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).mean(dim=1, keepdim=True, dtype=torch.float64)


def _variance_integrals(
    a: Tensor, b: Tensor, c: Tensor, floor: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the integrals over [0, 1] of `v^-1/2` and of `alpha^k v^-3/2`, k = 0, 1, 2.

    The variance is `v = a alpha^2 + 2 b alpha + c`, and `a c - b^2` is not below the floor. Where
    v changes much on the way, as from a baseline without contrast, alpha is stretched to `sinh`:
    of that variable v is a smooth function.
    """
    nodes = torch.tensor(line_nodes(NORM_NODES), dtype=torch.float64, device=a.device)
    node, weight = nodes[:, 0], nodes[:, 1]
    a = a.clamp(min=TINY)
    gap = torch.maximum(a * c - b * b, floor).clamp(min=TINY)
    root, least = gap.sqrt(), gap / a  # the least variance is where a alpha = -b
    low, high = torch.asinh(b / root), torch.asinh((a + b) / root)
    reach = high - low
    stretched = low + reach * node
    alpha = torch.where(reach < 1, node, (root * stretched.sinh() - b) / a)
    straight = (a * alpha + 2 * b) * alpha + c
    variance = torch.where(reach < 1, straight, least * stretched.cosh().square())
    length = torch.where(reach < 1, weight, weight * reach * (variance / a).sqrt())
    first = (length * variance.rsqrt()).sum(dim=1, keepdim=True)
    cube = length * variance.pow(-1.5)
    return first, [(cube * alpha**k).sum(dim=1, keepdim=True) for k in range(3)]


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, end: Tensor, pool: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor
    ) -> Tensor:
        output, where = pool(end)
        output_start, where_start = pool(start)
        ctx.save_for_backward(end - start, output - output_start, where, where_start)
        return _no_view(output)

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None, None]:
        change, rise, where, where_start = ctx.saved_tensors
        gained = _unpool(arriving * rise.clamp(min=0), where, change)
        lost = _unpool(arriving * rise.clamp(max=0), where_start, change)
        still = change == 0
        slope = (gained + lost) / torch.where(still, torch.ones_like(change), change)
        return torch.where(still, _unpool(arriving, where, change), slope), None, None


def _unpool(values: Tensor, where: Tensor, like: Tensor) -> Tensor:
    """Add values up at their places among the flattened spatial axes."""
    flat = torch.zeros_like(like).flatten(2)
    return flat.scatter_add_(2, where.flatten(2), values.flatten(2)).reshape(like.shape)
