"""Repository, pinned versions and Makefile are what they say they are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import EXTRAS, PACKAGES, documents, requirements, tracked
from tests.parts import ROOT

PINS = [line for line in (ROOT / "requirements/constraints.txt").read_text().splitlines() if not line.startswith("#")]


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_no_file_holds_a_path_of_the_machine_it_was_written_on() -> None:
    places = [f"{place}/" for place in (ROOT, Path.home()) if place != Path("/")]
    home = re.compile(r"/(?:home|Users)/[a-z]")
    found = [path for path, text in tracked().items() if home.search(text) or any(place in text for place in places)]
    assert found == []


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
    pin = re.compile(r"[a-z0-9.-]+==[0-9][\w.]*( ; [a-z_]+ (==|!=|<|>=) '[\w.]+'( (or|and) [a-z_]+ (==|!=) '\w+')?)?")
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
    assert reasons == {wanted.name for wanted in _of_the_program()}
    named = [*requirements("dev"), *requirements("versions")]
    tools = {wanted.name for wanted in named if not wanted.name.startswith("types-")}
    assert tools <= set(re.findall(r"[\w-]+", text))


def _of_the_program() -> list[Requirement]:
    """What its packages may import, extras of theirs included."""
    return [*requirements(), *requirements("embedded"), *requirements("uvicorn"), *requirements("bench")]


def test_what_the_program_imports_it_also_declares() -> None:
    """And nothing that only comes along with something else."""
    declared = {canonicalize_name(wanted.name) for wanted in _of_the_program()}
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
