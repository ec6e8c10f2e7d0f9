"""What each wheel installs is enough for its work, and no more.

A fresh environment gets the built wheels of this repository, and links to the installed
distributions that these wheels declare, directly or in turn: nothing else is there. So
an import that is not declared fails, with no download.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from mos_runtime.flower_env import free_port
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures

ROOT: Final = Path(__file__).parents[2]
PROJECTS: Final = {
    "mix-of-show-federated": ROOT,
    "mix-of-show-site": ROOT / "client",
    "mix-of-show-centre": ROOT / "server",
    "mix-of-show-lab": ROOT / "deploy" / "lab",
}


def facts_of(name: str) -> dict[str, object]:
    facts: dict[str, object] = tomllib.loads(
        (PROJECTS[name] / "pyproject.toml").read_text()
    )["project"]
    return facts


def closure(names: Iterable[str]) -> dict[str, Distribution]:
    """Installed distributions that the wheels need, directly or in turn."""
    found: dict[str, Distribution] = {}
    waiting: list[Requirement] = []
    for name in names:
        declared = facts_of(name)["dependencies"]
        assert isinstance(declared, list)
        waiting += [Requirement(one) for one in declared]
    while waiting:
        wanted = waiting.pop()
        key = wanted.name.lower().replace("_", "-")
        if key in PROJECTS or (key in found and not wanted.extras):
            continue
        try:
            found[key] = distribution(wanted.name)
        except PackageNotFoundError:
            continue  # of another platform, or an extra that is not wanted
        for text in found[key].requires or []:
            further = Requirement(text)
            places = [{"extra": extra} for extra in (*wanted.extras, "")]
            if further.marker is None or any(map(further.marker.evaluate, places)):
                waiting.append(further)
    return found


def link(distributions: Iterable[Distribution], folder: Path) -> None:
    """Link their files into a folder, top by top."""
    for one in distributions:
        home = Path(str(one.locate_file("")))
        tops = {file.parts[0] for file in one.files or []}
        for top in tops - {"..", "__pycache__", "bin"}:
            target = folder / top
            if not target.exists():
                target.symlink_to(home / top)  # a namespace's first brings all of it


def environment(folder: Path, *wheels: str) -> Path:
    """A virtual environment with these wheels and what they declare; its `bin`."""
    built, pip = folder / "wheels", (sys.executable, "-m", "pip", "wheel", "--quiet")
    offline = ("--no-deps", "--no-index")
    for name in wheels:
        where = ("--no-build-isolation", "--wheel-dir", str(built))
        subprocess.run([*pip, *offline, *where, str(PROJECTS[name])], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    install = (str(python), "-m", "pip", "install", "--quiet", *offline)
    subprocess.run([*install, *map(str, built.glob("*.whl"))], check=True)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    link(closure(wheels).values(), packages)
    flower = Path(sys.executable).parent.glob("fl*w*r*")
    for program in (path.name for path in flower):
        code = (Path(sys.executable).parent / program).read_text().split("\n", 1)[1]
        (python.parent / program).write_text(f"#!{python}\n{code}")
        (python.parent / program).chmod(0o755)
    return python.parent


def run(program: Path, *words: object, home: Path) -> subprocess.CompletedProcess[str]:
    kept = {"PATH", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LANG"}
    env = {key: value for key, value in os.environ.items() if key in kept}
    return subprocess.run(
        [program, *map(str, words)],
        env={**env, "HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def missing(python: Path, module: str, home: Path) -> bool:
    return run(python, "-c", f"import {module}", home=home).returncode != 0


@pytest.mark.slow
def test_site_tunes_with_its_wheel_alone(tmp_path: Path) -> None:
    bin_ = environment(tmp_path, "mix-of-show-federated", "mix-of-show-site")
    for module in ("mos_server", "mos_lab", "mos_zoo", "ray", "matplotlib"):
        assert missing(bin_ / "python", module, tmp_path), module
    save_pictures(tmp_path / "rex", side=64)
    words = ("tune", "--data", tmp_path / "rex", "--base", "mini", "--steps", 2)
    more = ("--no-share", "--skip-privacy-check", "--out", tmp_path / "rex.safetensors")
    done = run(bin_ / "mos-client", *words, *more, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rex.safetensors").stat().st_size > 0


@pytest.mark.slow
def test_centre_works_with_its_wheel_alone(tmp_path: Path) -> None:
    bin_ = environment(tmp_path, "mix-of-show-federated", "mix-of-show-centre")
    for module in ("mos_client", "mos_lab", "mos_zoo", "ray", "matplotlib"):
        assert missing(bin_ / "python", module, tmp_path), module
    base = save_tiny_sd(tmp_path / "base")
    words = ("serve", "--address", f"127.0.0.1:{free_port()}", "--json")
    more = ("--base", str(base), "--home", str(tmp_path / "centre"))
    with subprocess.Popen(
        [str(bin_ / "mos-server"), *words, *more],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as serve:
        assert serve.stdout is not None
        assert serve.stderr is not None
        seen = next((line for line in serve.stdout if '"listening"' in line), "")
        serve.terminate()
        errors = serve.stderr.read()
    assert seen, errors
    assert serve.returncode == 0, errors
    done = run(bin_ / "mos-server", "simulate", "--out", tmp_path / "x", home=tmp_path)
    assert done.returncode == 2
    assert "mos-lab simulate" in done.stderr


def test_all_wheels_have_one_version() -> None:
    versions = {str(facts_of(name)["version"]) for name in PROJECTS}
    assert len(versions) == 1
    (version,) = versions
    for name in PROJECTS:
        declared = facts_of(name)["dependencies"]
        assert isinstance(declared, list)
        ours = [one for one in declared if str(one).startswith("mix-of-show-")]
        assert all(str(one).endswith(f"=={version}") for one in ours)
