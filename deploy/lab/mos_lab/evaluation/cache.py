"""What an evaluation has found so far, one small file for each finding.

A finding is written whole or not at all, under a mark of everything it depends on, so
that an interrupted evaluation goes on where it stopped, and another base, other
concepts, settings or prompts never take over what was found for these.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mos_runtime.errors import StorageError
from mos_runtime.files import write_atomically


class ResultCache:
    """Findings by name, for one set of circumstances."""

    def __init__(self, folder: Path, circumstances: Mapping[str, Any]) -> None:
        """Keep findings in `folder`, apart from those of other circumstances."""
        self._circumstances = dict(circumstances)
        self._folder = folder

    def get(
        self,
        name: str,
        depends_on: Sequence[str],
        find: Callable[[], Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The finding of this name; `find` is asked where there is none yet.

        Args:
            name: Unique for what it depends on.
            depends_on: Digests of concepts, in their order, and whatever else.
            find: Finds it; its result is plain values.

        Raises:
            StorageError: it cannot be written.
        """
        on = json.dumps([self._circumstances, list(depends_on)], sort_keys=True)
        mark = hashlib.sha256(on.encode()).hexdigest()[:12]
        path = self._folder / f"{name}.{mark}.json"
        try:
            known: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return known
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{path}: a finding that cannot be read; delete it to find it anew"
            ) from error
        found = dict(find())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(found, sort_keys=True).encode())
        return found
