"""How a sampling run is shown: notes, progress, previews, what a stopped run kept."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mos_runtime.console import console, progress
from mos_runtime.files import write_atomically

if TYPE_CHECKING:
    from mos_client.sampling import SamplingStep


class SamplingDisplay:
    """A progress bar from the first step on, and previews in a temporary file."""

    def __init__(self, name: str) -> None:
        """Take what the preview's file is called after."""
        self._name = name
        self._progress = progress()
        self._task = self._progress.add_task("sampling", total=None, note="")
        self._previews: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "SamplingDisplay":
        """Nothing is shown before the first step."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the display; a run that ended early says what it finished."""
        self._progress.stop()
        if self._previews is not None:
            self._previews.cleanup()
        for note in getattr(error, "__notes__", ()):
            console.print(note, markup=False, soft_wrap=True)

    def show(self, step: "SamplingStep") -> None:
        """The callback of a run."""
        for note in step.notes:
            console.print(f"note: {note}", markup=False, soft_wrap=True)
        if not step.steps:
            return
        self._progress.start()
        self._progress.update(self._task, total=step.steps, completed=step.step)
        if step.previews:
            self._preview(step)

    def _preview(self, step: "SamplingStep") -> None:
        from mos_model.layouts.picture_file import picture_bytes
        from mos_model.layouts.preview import contact_sheet

        begun = self._previews is not None
        self._previews = self._previews or tempfile.TemporaryDirectory(prefix="mos-")
        path = Path(self._previews.name) / f"{self._name[:50]}.preview.png"
        sheet = contact_sheet(step.previews, columns=len(step.previews))
        write_atomically(path, picture_bytes(sheet))
        if not begun:
            console.print(f"preview: {path}", markup=False, soft_wrap=True)
