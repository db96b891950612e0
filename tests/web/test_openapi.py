"""The app against its own OpenAPI document, by properties: whatever comes in, no answer is a 5xx or undocumented."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.user_ids import UserIdType

# What a schema can't say: an integer written 1.0 is none of ours, a row for everyone is marked by somebody, another user's row is
# not there. The other tests say it.
BEYOND_SCHEMAS = "positive_data_acceptance,ensure_resource_availability"


def _drive(url: str, *options: str, folder: Path) -> None:
    """Run schemathesis on all routes but the stream, which has no end."""
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{url}/openapi.json",
        "--exclude-path",
        "/events/{user_id}",
    ]
    command += ["--no-color", "--continue-on-failure", "--exclude-checks", BEYOND_SCHEMAS, *options]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_app_does_what_its_document_says(quiet: Callable[[UserIdType], tuple[str, str]], tmp_path: Path) -> None:
    url, _ = quiet(UserIdType.BIGINT)
    options = ("--phases", "examples,coverage,fuzzing", "--max-examples", "2", "--generation-deterministic")
    _drive(url, *options, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", UserIdType)
def test_it_does_so_for_long_and_from_request_to_request(
    quiet: Callable[[UserIdType], tuple[str, str]], tmp_path: Path, kind: UserIdType
) -> None:
    url, _ = quiet(kind)
    _drive(url, "--max-examples", "100" if kind is UserIdType.TEXT else "25", folder=tmp_path)
