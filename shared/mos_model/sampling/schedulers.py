"""Schedulers by name, tried before any time is spent on what they cannot do."""

import inspect
from typing import Any, Final

import diffusers
from diffusers import SchedulerMixin

from mos_model.errors import LayoutError
from mos_runtime.nearest import way_out

_TAKEN: Final = frozenset({"model_output", "timestep", "sample"})
"""What the pipelines hand to a scheduler's `step`."""

_NEEDED: Final = (
    *("set_timesteps", "scale_model_input", "step"),
    *("init_noise_sigma", "order"),
)
_REASONS: Final = (
    *(ArithmeticError, AttributeError, ImportError, LookupError),
    *(NotImplementedError, TypeError, ValueError),
)
"""What schedulers raise that are made for other models or take no such steps."""


def scheduler_named(name: str, own: Any, *, steps: int) -> Any:
    """A fresh scheduler with a base's noise schedule.

    Args:
        name: A class of diffusers.
        own: The base's own scheduler, whose schedule it takes.
        steps: How many it is to take.

    Raises:
        LayoutError: diffusers has none of that name, it does not go with the base, or
            it takes no such number of steps.
    """
    family: Any = getattr(diffusers, name, None)
    if not (
        isinstance(family, type)
        and issubclass(family, SchedulerMixin)
        and hasattr(family, "from_config")
    ):
        names = [each for each in dir(diffusers) if each.endswith("Scheduler")]
        raise LayoutError(
            f"scheduler {name!r}: diffusers has none of that name; "
            f"{way_out(name, names)}"
        )
    most = int(own.config.num_train_timesteps)
    if steps > most:
        raise LayoutError(f"steps {steps}; the base's noise schedule has {most}")
    try:
        fresh = family.from_config(own.config)
        known = all(hasattr(fresh, need) for need in _NEEDED)
        fits = known and _needs(fresh.step) <= _TAKEN
    except _REASONS:
        fits = False
    if not fits:
        raise LayoutError(f"scheduler {name!r}: made for other models than this base")
    try:
        fresh.set_timesteps(steps)
    except _REASONS as error:
        reason = str(error).strip().partition("\n")[0]
        raise LayoutError(
            f"scheduler {name!r}: does not take {steps} steps ({reason})"
        ) from error
    return fresh


def _needs(step: Any) -> set[str]:
    """The arguments that have no default."""
    parameters = inspect.signature(step).parameters.values()
    named = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        each.name
        for each in parameters
        if each.default is inspect.Parameter.empty and each.kind not in named
    }
