"""The example notebook runs, on the mini base and a site that holds a release."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mos_client.studio import Studio
from tests.support.homes import home_with_release

NOTEBOOK = Path(__file__).parents[2] / "deploy/docs/examples/site.ipynb"
FOUND = """
print(json.dumps({
    "steps": steps,
    "sizes": [image.size for image in images],
    "sampled": len(sampled.pictures),
    "concepts": [concept.key for concept in concepts],
    "drawn": len(drawn),
}))
"""


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_the_notebook_is_kept_without_outputs() -> None:
    assert cells()
    for cell in cells():
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
def test_the_notebook_runs_to_its_end(tmp_path: Path) -> None:
    home = home_with_release(tmp_path, "mini")
    program = "\n\n".join("".join(cell["source"]) for cell in cells())
    ran = subprocess.run(
        [sys.executable, "-c", f"import json\n{program}\n{FOUND}"],
        env=os.environ | {"MOS_SITE_HOME": str(home.folder)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout.splitlines()
    assert json.loads(told[-1]) == {
        "steps": list(range(20)),
        "sizes": [[128, 64]],
        "sampled": 2,
        "concepts": ["north/rex"],
        "drawn": 1,
    }
    assert any(line.startswith("memorisation check:") for line in told)
    assert "release 1 is as the centre signed it" in told
    (own,) = Studio(home.folder).concepts("own")
    assert (own.name, own.class_word, own.state) == ("rex", "dog", "tuned here")
