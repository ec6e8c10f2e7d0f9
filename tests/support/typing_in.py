"""Command lines as a user types them."""

from typing import Any

import pytest

from mos_runtime.console import run


def type_in(app: Any, *words: object) -> int:
    """Run a command line; its exit code."""
    with pytest.raises(SystemExit) as leaving:
        run(app, [str(word) for word in words])
    code = leaving.value.code
    assert isinstance(code, int)
    return code
