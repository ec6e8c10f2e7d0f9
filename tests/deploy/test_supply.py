"""What is installed: every file by its hash, and from one address at a time."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy" / "locks"
NAMES = sorted(path.stem for path in LOCKS.glob("*.txt"))
TORCH = ("torch-cpu", "torch-cuda")
PROJECTS = {"federated": ".", "site": "client", "centre": "server", "lab": "deploy/lab"}
SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}")
INSTALLATIONS = {
    "centre": ("federated", "centre[postgresql]"),
    "site": ("federated", "site"),
    "development": ("federated[dev,docs]", "site", "centre[postgresql]", "lab"),
}
"""The projects, and extras, that a lock serves."""


@dataclass(frozen=True)
class Locked:
    """One requirement of a lock."""

    wanted: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.wanted.name)

    @property
    def version(self) -> str:
        (only,) = self.wanted.specifier
        assert only.operator == "=="
        return only.version


def read_lock(name: str) -> list[Locked]:
    text = (LOCKS / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = []
    for line in lines:
        wanted, *hashes = re.split(r"\s+(?=--hash=)", line.strip())
        found.append(Locked(Requirement(wanted), tuple(hashes)))
    return found


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    pairs = (line.split("==") for line in lines)
    return {canonicalize_name(name): version for name, version in pairs}


def dependencies(project: str) -> set[str]:
    """Of one project with its extras, as `site[heif]`; the other projects left out."""
    asked = Requirement(project)
    path = ROOT / PROJECTS[asked.name] / "pyproject.toml"
    table = tomllib.loads(path.read_text())["project"]
    lines = [*table["dependencies"]]
    for extra in asked.extras:
        lines += table["optional-dependencies"][extra]
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    return {name for name in names if not name.startswith("mix-of-show")}


def test_every_lock_is_one_of_these() -> None:
    assert sorted({*INSTALLATIONS, *TORCH}) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_requirement_of_a_lock_has_hashes(name: str) -> None:
    found = read_lock(name)
    assert found
    for one in found:
        assert one.hashes, one.name
        assert all(SHA256.fullmatch(each) for each in one.hashes), one.name
        assert len(set(one.hashes)) == len(one.hashes)
        assert one.wanted.url is None


@pytest.mark.parametrize("path", [*LOCKS.glob("*.txt"), ROOT / "constraints.txt"])
def test_no_lock_names_an_address_or_an_option(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    for word in text.split():
        assert not word.startswith("-") or SHA256.fullmatch(word), word


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_lock_and_constraints_agree(name: str) -> None:
    pinned = pins()
    for one in read_lock(name):
        assert pinned.get(one.name) == one.version


@pytest.mark.parametrize("name", TORCH)
def test_both_builds_of_torch_are_the_version_that_is_pinned(name: str) -> None:
    (torch,) = (one for one in read_lock(name) if one.name == "torch")
    version, _, build = torch.version.partition("+")
    assert version == pins()["torch"]
    assert build == ("cpu" if name == "torch-cpu" else "")


@pytest.mark.parametrize(("name", "projects"), INSTALLATIONS.items(), ids=INSTALLATIONS)
def test_every_dependency_is_in_its_lock(name: str, projects: tuple[str, ...]) -> None:
    locked = {one.name for one in (*read_lock(name), *read_lock("torch-cpu"))}
    wanted = {"hatchling"}.union(*map(dependencies, projects))
    assert len(wanted) > 15
    assert wanted - locked == set()


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_torch_is_left_to_a_lock_of_its_own(name: str) -> None:
    """So that the build for processors needs no second index for all packages."""
    cuda = {one.name for one in read_lock("torch-cuda")}
    assert {"torch", "nvidia-cublas"} <= cuda
    assert cuda & {one.name for one in read_lock(name)} == set()


@pytest.mark.parametrize("name", ["centre", "site"])
def test_image_installs_by_hash_alone(name: str) -> None:
    text = (ROOT / "deploy" / f"{name}.Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]*)", text)
    assert len(installs) == 3
    for one in installs[:2]:
        assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(one.split())
    assert {"--no-deps", "--no-index", "--no-build-isolation"} <= set(
        installs[2].split()
    )
    assert f"deploy/locks/{name}.txt" in installs[1]
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["${BASE}"] * 2


def test_nobody_is_told_to_mix_two_indexes() -> None:
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile"):
        assert "extra-index" not in path.read_text(), path.name


@pytest.mark.skipif(
    find_spec("cyclonedx_py") is None, reason="cyclonedx-bom is not installed here"
)
def test_bill_of_materials_names_every_package(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    # As `make sbom` does.
    words = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    words += ["--output-format", "JSON", "--output-file", str(out)]
    program = Path(sys.executable).with_name("cyclonedx-py")
    subprocess.run([program, "environment", sys.executable, *words], check=True)
    found = json.loads(out.read_text())
    assert found["bomFormat"] == "CycloneDX"
    assert found["metadata"]["component"]["name"] == "mix-of-show-federated"
    parts = {str(canonicalize_name(one["name"])): one for one in found["components"]}
    for name in ("flwr", "torch", "cryptography", "mix-of-show-site"):
        assert parts[name]["version"]
    assert parts["flwr"]["purl"] == f"pkg:pypi/flwr@{pins()['flwr']}"
    assert any(one["ref"].startswith("flwr") for one in found["dependencies"])
