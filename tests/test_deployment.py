"""The compose file and the image, as far as they can be looked at without a Docker engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import psycopg
import pytest
from packaging.utils import canonicalize_name
from psycopg.conninfo import make_conninfo
from ruamel.yaml import YAML

from db.migrate import migrate
from rowcast.cli import rowcast
from tests.checkout import PACKAGES, requirements, tracked
from tests.parts import ROOT
from tests.servers import embedded_postgres, folder

COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


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
            if "PASSWORD" in variable or "KEY" in variable:
                assert re.fullmatch(r"\$\{(\w+):\?put a line \1=[^}]+\}", value)
            assert "@" not in value or re.match(r"\w+://\w+@", value), "a password in a URL"


def test_the_first_lines_make_every_secret() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    made = re.search(r"^#   (for name in ([A-Z_ ]+); do .+; done) > \.env$", text, re.MULTILINE)
    assert made
    assert set(made[2].split()) == set(re.findall(r"\$\{(\w+):\?", text))
    done = subprocess.run(["sh", "-c", made[1]], capture_output=True, text=True, check=True)
    assert all(re.fullmatch(r"\w+=[0-9a-f]{64}", line) for line in done.stdout.splitlines())


def test_the_web_serves_with_tokens_and_this_host_only() -> None:
    assert SERVICES["web"]["environment"]["ROWCAST_AUTH"] == "jwt"
    assert "--insecure" not in SERVICES["web"]["command"]
    assert [name for name, service in SERVICES.items() if "ROWCAST_JWT_KEY" in service.get("environment", {})] == [
        "web"
    ]
    assert [port for service in SERVICES.values() for port in service.get("ports", [])] == ["127.0.0.1:8000:8000"]


@pytest.mark.slow
def test_bridge_and_web_log_in_with_the_rights_of_their_groups_alone() -> None:
    """The script of the compose file, run as the postgres image runs it, on a server with nothing in it."""
    from rowcast.embedded.binaries import postgres_programs

    mounted = [volume.split(":") for volume in SERVICES["postgres"]["volumes"]]
    [script] = [source for source, target, *_ in mounted if target.startswith("/docker-entrypoint-initdb.d/")]
    passwords = {"BRIDGE_PASSWORD": "b'ridge", "WEB_PASSWORD": 'we"b'}
    with folder() as place, embedded_postgres() as server:
        psql = postgres_programs(place, None) / "psql"
        command = [psql, "--no-psqlrc", "--dbname", server.url, "--file", ROOT / script]
        subprocess.run(command, env=os.environ | passwords, capture_output=True, check=True)
        migrate(server.url, user_id_type=None, buckets=None, roles=True, say=lambda _: None)
        for service in ("bridge", "web"):
            login = urlsplit(SERVICES[service]["environment"]["ROWCAST_DATABASE_URL"]).username
            url = make_conninfo(server.url, user=login, password=passwords[f"{service.upper()}_PASSWORD"])
            with psycopg.connect(url) as session:
                groups = session.execute(
                    "SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'member') AND rolname <> current_user"
                ).fetchall()
                assert groups == [(f"rowcast_{service}",)]
                assert session.execute("SELECT count(*) FROM notifications").fetchone() == (0,)
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute("TRUNCATE notifications")


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
