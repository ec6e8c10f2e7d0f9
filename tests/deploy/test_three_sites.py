"""deploy/three_sites.sh as a person starts it, and what it leaves behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_client.store.releases import ReleaseStore
from mos_model.concepts.concept import FusedModel
from mos_runtime.flower_env import free_port
from tests.support.bases import save_tiny_sd
from tests.support.federation import QUICK
from tests.support.pictures import save_pictures
from tests.support.programs import processes_about

SCRIPT = Path(__file__).parents[2] / "deploy" / "three_sites.sh"


def run(*words: object, **variables: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, words)],
        env={
            **os.environ,
            "BIN": str(Path(sys.executable).parent),
            **{name: str(value) for name, value in variables.items()},
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def namespaces() -> set[str]:
    """Network namespaces that have a name on this machine."""
    folder = Path("/run/netns")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
NEEDS_NGINX = pytest.mark.skipif(
    not Path(NGINX).exists(), reason="nginx is not installed"
)


@pytest.mark.slow
@pytest.mark.parametrize("front", ["", pytest.param(NGINX, marks=NEEDS_NGINX)])
def test_three_sites_share_a_release_over_tls_and_leave_nothing_behind(
    tmp_path: Path, front: str
) -> None:
    base = save_tiny_sd(tmp_path / "base")
    (base / "mos_defaults.json").write_text(json.dumps(QUICK))
    for name in ("bolt", "luna", "rex"):
        folder = save_pictures(tmp_path / "pictures" / name, side=16)
        (folder / "concept.toml").write_text('class_word = "dog"')
    before, out = namespaces(), tmp_path / "out"
    given = {"BASE": base, "STEPS": 2, "PORT": free_port(), "FRONT": front}
    done = run(tmp_path / "pictures", out, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "network namespace" in done.stdout
    payloads = set()
    for number in (1, 2, 3):
        path = ReleaseStore(SiteHome.open(out / f"site-{number}")).path("newest")
        payloads.add(path.read_bytes())
    (payload,) = payloads
    keys = [concept.key for concept in FusedModel.from_bytes(payload).concepts]
    assert keys == ["site-1/bolt", "site-2/luna", "site-3/rex"]
    assert namespaces() == before
    assert processes_about(tmp_path) == []


def test_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    done = run(tmp_path / "pictures", tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("is there already; remove it, or name another folder\n")


def test_other_than_three_sites_are_refused(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path / "out")
    assert done.returncode == 2
    assert "holds 0 folders; three are needed" in done.stderr
    assert not (tmp_path / "out").exists()
