"""The nearest of some known names, for whoever mistyped one."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

_MOST_LISTED = 6
_LEAST_ALIKE = 0.6


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, without regard to case; None if none is."""
    lowered: dict[str, str] = {}
    for each in known:
        lowered.setdefault(each.lower(), each)
    found = get_close_matches(name.lower(), lowered, n=1, cutoff=_LEAST_ALIKE)
    return lowered[found[0]] if found else None


def way_out(
    name: str, known: Iterable[str], *, written: Callable[[str], str] = str
) -> str:
    """What to say of a name that is not known: the nearest, else those there are.

    Args:
        name: What was typed.
        known: All names.
        written: How a name is written in the message.
    """
    names = sorted(known)
    near = nearest(name, names)
    if near is not None:
        return f"did you mean {written(near)}?"
    if not names:
        return "there is none"
    shown = ", ".join(written(each) for each in names[:_MOST_LISTED])
    more = len(names) - _MOST_LISTED
    return f"known: {shown}" + (f" and {more} more" if more > 0 else "")
