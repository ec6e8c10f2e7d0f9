"""The deployment's files: that they harden what they start, and that it would start.

Containers cannot be built where these tests run. What can be checked without: that
every command line in these files is one that our commands take, and that the containers
are what the threat model says of them.
"""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml  # type: ignore[import-untyped]

from mos_client.cli import app as client_app
from mos_client.store.home import HOME_VARIABLE as SITE_VARIABLE
from mos_runtime.processes import GRACE_SECONDS
from mos_server.cli import app as server_app
from mos_server.registry.home import HOME_VARIABLE as CENTRE_VARIABLE

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROGRAMS = {"mos-server": server_app, "mos-client": client_app}


def check_words(program: str, words: Sequence[str]) -> None:
    """Let the real command read a command line, without running it."""
    group: Any = typer.main.get_command(PROGRAMS[program])
    command = group.commands[words[0]]
    with command.make_context(words[0], list(words[1:])):
        pass


def instructions(name: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions, in order."""
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def dockerfile_of(service: str) -> list[tuple[str, str]]:
    build = SERVICES[service]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    path = (ROOT / build["dockerfile"]).resolve()
    assert path.parent == DEPLOY
    return instructions(path.name)


@pytest.mark.parametrize("service", ["centre", "site"])
def test_container_may_do_nothing_but_its_work(service: str) -> None:
    found = SERVICES[service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    user = found["user"]
    assert user == dict(dockerfile_of(service))["USER"]
    assert int(user.split(":")[0]) > 0
    assert not found.get("privileged")
    assert "network_mode" not in found


@pytest.mark.parametrize("service", ["centre", "site"])
def test_state_lives_in_a_named_volume(service: str) -> None:
    mounts = [str(mount).split(":") for mount in SERVICES[service]["volumes"]]
    (name,) = [mount[0] for mount in mounts if mount[1] == "/state"]
    assert name in COMPOSE["volumes"]
    words = dict(dockerfile_of(service))
    home = "MOS_CENTRE_HOME" if service == "centre" else "MOS_SITE_HOME"
    assert re.search(rf"\b{home}=/state/", words["ENV"])
    assert words["VOLUME"] == '["/state"]'
    for mount in mounts:
        if mount[1] == "/pictures":
            assert mount[2] == "ro"


def test_only_the_fleet_port_of_the_centre_is_published() -> None:
    assert SERVICES["centre"]["ports"] == ["9092:9092"]
    assert "ports" not in SERVICES["site"]
    assert dict(dockerfile_of("centre"))["EXPOSE"] == "9092"
    assert "EXPOSE" not in dict(dockerfile_of("site"))


@pytest.mark.parametrize("service", ["centre", "site"])
def test_container_starts_a_command_that_exists(service: str) -> None:
    words = dict(dockerfile_of(service))
    (program,) = yaml.safe_load(words["ENTRYPOINT"])
    check_words(program, SERVICES[service]["command"])
    check_words(program, yaml.safe_load(words["CMD"]))
    assert words["STOPSIGNAL"] == "SIGTERM"


def commented() -> Iterator[str]:
    """The command lines in compose.yaml's comment, each on one line."""
    text = (DEPLOY / "compose.yaml").read_text().replace("\\\n#", " ")
    for line in text.splitlines():
        if line.startswith("#   docker compose run --rm "):
            yield line.removeprefix("#   docker compose run --rm ")


@pytest.mark.parametrize("line", list(commented()))
def test_commands_that_compose_tells_of_exist(line: str) -> None:
    service, *words = shlex.split(line)
    check_words({"centre": "mos-server", "site": "mos-client"}[service], words)


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")))
def test_unit_starts_a_command_that_exists(path: Path) -> None:
    lines = dict(
        line.split("=", 1) for line in path.read_text().splitlines() if "=" in line
    )
    program, *words = shlex.split(lines["ExecStart"])
    check_words(Path(program).name, words)
    assert lines["NoNewPrivileges"] == lines["ProtectHome"] == "yes"
    assert lines["ProtectSystem"] == "strict"
    assert lines["User"] != "root"


@pytest.mark.parametrize("name", ["centre.Dockerfile", "site.Dockerfile"])
def test_dockerfile_copies_nothing_of_a_checkout_into_the_last_stage(name: str) -> None:
    found = instructions(name)
    last = max(place for place, (word, _) in enumerate(found) if word == "FROM")
    copies = [rest for word, rest in found[last:] if word == "COPY"]
    assert copies == ["--from=build /opt/mix-of-show /opt/mix-of-show"]


def let_through(path: str) -> bool:
    """Whether .dockerignore lets a path of the checkout into a build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    return any(path == one or path.startswith(f"{one}/") for one in kept)


def packages_of(folder: Path) -> list[Path]:
    """The packages of a wheel."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    return [folder / package for package in wheel["packages"]]


def locks_of(run: str) -> list[str]:
    """The files by which a RUN installs packages."""
    return re.findall(r"--requirement (\S+)", run)


@pytest.mark.parametrize(("name", "own"), [("centre", "server"), ("site", "client")])
def test_a_build_reads_its_own_wheel_and_the_common_one_alone(
    name: str, own: str
) -> None:
    copied: set[str] = set()
    needed = {"pyproject.toml", "README.md", "LICENSE"}
    for folder in (ROOT, ROOT / own):
        found = packages_of(folder)
        assert all(package.is_dir() for package in found)
        needed |= {package.relative_to(ROOT).parts[0] for package in found}
    for word, rest in instructions(f"{name}.Dockerfile"):
        if word == "RUN":
            needed |= {Path(one).parent.as_posix() for one in locks_of(rest)}
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            copied |= set(sources)
    assert copied == needed
    assert "deploy/locks" in needed
    for path in needed:
        assert (ROOT / path).exists(), path
        assert let_through(path), path
    assert not any(map(let_through, (".git", ".venv", "out", "tests", "deploy")))


@pytest.mark.parametrize("service", ["centre", "site"])
def test_every_path_of_a_container_is_mounted_made_or_in_memory(service: str) -> None:
    words = dict(dockerfile_of(service))
    made = next(rest for _, rest in instructions_with("install -d", service))
    mounts = {str(mount).split(":")[1] for mount in SERVICES[service]["volumes"]}
    memory = {str(one).split(":")[0] for one in SERVICES[service]["tmpfs"]}
    for folder in mounts - {"/pictures"}:
        assert folder in made.split()
    places = re.findall(r"\w+=(/[^\s:]+)", words["ENV"])
    for place in places:
        top = f"/{place.split('/')[1]}"
        assert top in mounts | memory | {"/opt"}, place
    assert words["ENTRYPOINT"].strip('["]') in project_scripts()


def instructions_with(text: str, service: str) -> Iterator[tuple[str, str]]:
    for word, rest in dockerfile_of(service):
        if text in rest:
            yield word, rest


def project_scripts() -> set[str]:
    """The commands that the wheels of site and centre install."""
    projects = [ROOT / folder / "pyproject.toml" for folder in ("client", "server")]
    found = [tomllib.loads(path.read_text())["project"] for path in projects]
    return {script for project in found for script in project["scripts"]}


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")))
def test_unit_keeps_its_home_where_it_may_write(path: Path) -> None:
    lines = dict(
        line.split("=", 1) for line in path.read_text().splitlines() if "=" in line
    )
    variable, home = lines["Environment"].split("=")
    assert variable in (CENTRE_VARIABLE, SITE_VARIABLE)
    assert home.startswith(f"/var/lib/{lines['StateDirectory']}/")
    assert Path(shlex.split(lines["ExecStart"])[0]).name in project_scripts()
    # A stop is SIGTERM, a grace, SIGTERM to what is left, a grace, SIGKILL.
    assert float(lines["TimeoutStopSec"]) > 2 * GRACE_SECONDS
    assert lines["KillMode"] == "mixed"


@pytest.mark.parametrize("service", ["centre", "site"])
def test_container_is_given_the_time_that_stopping_takes(service: str) -> None:
    grace = str(SERVICES[service]["stop_grace_period"])
    assert float(grace.removesuffix("s")) > 2 * GRACE_SECONDS


PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.clientapp.typing", "flwr.serverapp")


def flower_modules(path: Path) -> set[str]:
    """Modules of Flower that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.split(".")[0] == "flwr"}


def test_every_module_that_uses_flowers_internals_is_in_the_decision() -> None:
    """To move to another version, ADR 0001 alone has to be read."""
    decision = (DEPLOY / "docs" / "adr" / "0001-flower-1-39.md").read_text()
    packages = [ROOT / name for name in ("client", "server", "protocol", "shared")]
    users = {
        str(path.relative_to(package))
        for package in (*packages, DEPLOY / "lab")
        for path in package.rglob("*.py")
        if flower_modules(path) - set(PUBLIC)
    }
    assert users
    assert [name for name in sorted(users) if f"`{name}`" not in decision] == []
