"""What stands around the code says what is so: Makefile, pinned versions, compose file, image, docs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from rowcast.cli import rowcast
from tests.parts import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PINS = [line for line in (ROOT / "requirements/constraints.txt").read_text().splitlines() if not line.startswith("#")]


@cache
def tracked() -> dict[Path, str]:
    """Every text file that git knows, with its text; paths as in the checkout."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts: dict[Path, str] = {}
    for name in filter(None, names.split("\0")):
        try:
            texts[Path(name)] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return texts


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def requirements(extra: str | None = None) -> list[Requirement]:
    project = PYPROJECT["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines if not line.startswith("rowcast")]


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


# --- the repository as a whole


def test_no_file_holds_a_path_of_the_machine_it_was_written_on() -> None:
    places = [f"{place}/" for place in (ROOT, Path.home()) if place != Path("/")]
    home = re.compile(r"/(?:home|Users)/[a-z]")
    found = [path for path, text in tracked().items() if home.search(text) or any(place in text for place in places)]
    assert found == [Path("tests/test_ground.py")] * (Path("tests/test_ground.py") in found)


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = [
        f"{name}.{top}" for name, top in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"))
    ]
    found = {path: host for path, text in tracked().items() for host in (*hosts, "index" + "-url") if host in text}
    assert not found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_opens_with_a_map_of_its_modules(package: str) -> None:
    """The docstring of `__init__.py` names each module and subpackage in backticks."""
    inside = {
        path.relative_to(package).parts[0] for path in tracked() if path.parts[0] == package and path.suffix == ".py"
    }
    modules = {Path(name).stem for name in inside} - {"__init__", "__main__"}
    text = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    assert modules <= set(re.findall(r"`(\w+)`", text))


# --- pinned versions


def test_the_constraints_are_exact_versions_and_nothing_else() -> None:
    pin = re.compile(r"[a-z0-9.-]+==[0-9][\w.]*( ; [a-z_]+ (==|!=|<|>=) '[\w.]+'( or [a-z_]+ == '\w+')?)?")
    assert [line for line in PINS if not pin.fullmatch(line)] == []


def test_every_dependency_is_pinned_within_its_range() -> None:
    pinned = {canonicalize_name(pin.name): pin for pin in map(Requirement, PINS)}
    build = map(Requirement, (ROOT / "requirements/build.in").read_text().splitlines()[1:])
    everything = [*requirements(), *(wanted for extra in EXTRAS for wanted in requirements(extra)), *build]
    for wanted in everything:
        version = str(pinned[canonicalize_name(wanted.name)].specifier).removeprefix("==")
        assert wanted.specifier.contains(version), f"{wanted} is pinned to {version}: make lock"


def test_every_dependency_has_its_reason_in_the_docs() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    rows = {
        re.split(r"[\]( ]", line.removeprefix("| ").lstrip("["))[0]
        for line in text.splitlines()
        if line.startswith("| ")
    }
    reasons = rows - {"package"}
    assert reasons == {wanted.name for wanted in [*requirements(), *requirements("embedded")]}
    named = [*requirements("dev"), *requirements("versions")]
    tools = {wanted.name for wanted in named if not wanted.name.startswith("types-")}
    assert tools <= set(re.findall(r"[\w-]+", text))


def test_what_the_program_imports_it_also_declares() -> None:
    """And nothing that only comes along with something else."""
    declared = {canonicalize_name(wanted.name) for wanted in [*requirements(), *requirements("embedded")]}
    providers = packages_distributions()
    for path, text in tracked().items():
        if path.suffix != ".py" or path.parts[0] not in PACKAGES:
            continue
        for name in imported(ast.parse(text)) - sys.stdlib_module_names - set(PACKAGES):
            parts = {canonicalize_name(provider).removesuffix("-pool") for provider in providers.get(name, [name])}
            assert parts & declared, f"{path} imports {name}"


def imported(tree: ast.AST) -> set[str]:
    """The top-level modules that a file imports by absolute name."""
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    from_ = {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }
    return {name.split(".")[0] for name in plain | from_}


# --- make


def test_make_help_lists_every_target() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^  make (\S+) +\S", make("help"), re.MULTILINE)) == targets


def test_the_readme_opens_with_the_two_commands() -> None:
    block = re.search(r"^```\w*\n(.*?)```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    assert re.findall(r"^make \S+", block[1], re.MULTILINE) == ["make up", "make test"]


def test_docs_name_only_targets_that_are_there() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for path in documents()
        for target in re.findall(r"(?:`|^    )make ([a-z][\w-]*)", tracked()[path], re.MULTILINE)
    }
    assert named <= targets


# --- docs


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """The files of the checkout that a document links to, with the anchor."""
    for target in re.findall(r"\]\(([^)\s]+)\)", tracked().get(path, "")):
        if not re.match(r"\w+:", target):
            file, _, anchor = target.partition("#")
            yield (ROOT / path.parent / file).resolve() if file else ROOT / path, anchor


def test_links_between_documents_lead_somewhere() -> None:
    for path in documents():
        for target, anchor in links(path):
            assert target.exists(), f"{path} links to {target.relative_to(ROOT)}"
            assert not anchor or anchor in anchors(target.read_text()), f"{path} links to {target.name}#{anchor}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    open_ends = {Path("README.md")}
    while open_ends:
        path = open_ends.pop()
        seen.add(path)
        found = {target.relative_to(ROOT) for target, _ in links(path) if target.suffix == ".md"}
        open_ends |= found - seen
    assert set(documents()) - seen == set()


def test_files_that_docs_name_are_there() -> None:
    """`folder/file.py` in backticks, from the root of the repository."""
    pattern = re.compile(
        r"`((?:" + "|".join([*PACKAGES, "tests", "docs", "requirements"]) + r")/[\w./-]*\w)(?:\([^`]*)?`"
    )
    for path in documents():
        for name in pattern.findall(tracked().get(path, "")):
            assert (ROOT / name).exists() or (ROOT / f"{name}.py").exists(), f"{path} names {name}"


# --- the compose file and the image


def test_the_compose_file_keeps_to_its_schema() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in {"root", "0", "0:0"}
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    one_off = service["restart"] == "no"
    assert one_off or service["healthcheck"]["test"][0] == "CMD"
    for other, waited in service.get("depends_on", {}).items():
        ended = SERVICES[other]["restart"] == "no"
        assert waited["condition"] == ("service_completed_successfully" if ended else "service_healthy")


def test_the_compose_file_holds_no_secret() -> None:
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable:
                assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", value)
            assert "@" not in value or re.match(r"\w+://\w+@", value), "a password in a URL"


def test_without_tokens_only_this_host_is_served() -> None:
    """Whoever takes out --insecure may take out this test."""
    assert "--insecure" in SERVICES["web"]["command"]
    assert [port for service in SERVICES.values() for port in service.get("ports", [])] == ["127.0.0.1:8000:8000"]


@pytest.mark.parametrize("name", ["migrate", "bridge", "web"])
def test_the_commands_of_the_compose_file_are_the_programs_own(name: str) -> None:
    command, *arguments = SERVICES[name]["command"]
    program = rowcast.get_command(click.Context(rowcast), command)
    assert program is not None
    known = {flag for parameter in program.params for flag in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


def test_the_image_takes_in_what_the_wheel_needs() -> None:
    copied = set(re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    sources = {source for line in copied for source in line.split()}
    assert sources == {*PACKAGES, "requirements", "pyproject.toml", "README.md", "LICENSE"}
    assert set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)) == sources


def build_wheel(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    [wheel] = folder.glob("rowcast-*.whl")
    return wheel


def test_the_wheel_holds_the_packages_whole_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        inside = {Path(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert {path for path in tracked() if path.parts[0] in PACKAGES} <= inside
    assert {path.parts[0] for path in inside} == set(PACKAGES)


@pytest.mark.slow
def test_a_production_install_works_in_an_empty_place_without_embedded_servers(tmp_path: Path) -> None:
    """The steps of the Dockerfile by hand: wheel, empty environment, empty folder, pinned versions."""
    wheel, venv, elsewhere = build_wheel(tmp_path), tmp_path / "venv", tmp_path / "empty"
    elsewhere.mkdir()

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "requirements/constraints.txt", wheel)
    run(python, "-m", "pip", "check")
    installed = {canonicalize_name(line.split("==")[0]) for line in run(python, "-m", "pip", "freeze").splitlines()}
    assert not installed & {canonicalize_name(wanted.name) for wanted in requirements("embedded")}
    assert "bridge" in run(venv / "bin/rowcast", "--help")
    for command in ("migrate", "bridge", "web"):
        run(venv / "bin/rowcast", command, "--help")
    run(python, "-c", "import rowcast.wiring.bridge, rowcast.wiring.web")
