"""Functions of a network replaced while it runs: rules by function, not by module.

Torch hands every function call in the dynamic scope to a mode, whether a module made it or the
forward method itself. A rule therefore sees `nn.ReLU`, `F.relu`, `torch.relu` and `x.relu()`
alike, residual sums and concatenations too, and nothing in the network is ever changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

Call = Callable[..., Any]
Rule = Callable[[Call, tuple[Any, ...], dict[str, Any]], Any]
"""What happens instead of `function(*args, **kwargs)`: gets the three, returns the result."""


class Intercept(TorchFunctionMode):
    """Within the context, every call of a ruled function goes to its rule.

    Run the forward pass within, the backward pass outside. Rules themselves run unintercepted.

    Args:
        rules: by function, as `torch.conv3d` or `torch.nn.functional.relu`.
        otherwise: rule of all other functions; they are called as they are by default.
    """

    def __init__(self, rules: Mapping[Call, Rule], otherwise: Rule | None = None) -> None:
        super().__init__()
        self.rules = rules
        self.otherwise = otherwise
        self.met: Counter[str] = Counter()

    def __torch_function__(
        self,
        func: Call,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        rule = self.rules.get(func, self.otherwise)
        if rule is None:
            return func(*args, **(kwargs or {}))
        if func in self.rules:
            self.met[getattr(func, "__name__", str(func))] += 1
        return rule(func, args, kwargs or {})
