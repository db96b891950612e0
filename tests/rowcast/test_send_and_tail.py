"""`send` and `tail` against a running web."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.rowcast.ups import environment, rowcast


@contextmanager
def tail(*arguments: str, cwd: Path, stdout: int = subprocess.PIPE, **env: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "rowcast", "tail", *arguments]
    with subprocess.Popen(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment(**env)
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    fields: dict[str, object] = json.loads(line)
    return fields


def test_what_is_sent_is_tailed_as_json_into_a_pipe(web_url: str, user: int, tmp_path: Path) -> None:
    sent = rowcast("send", str(user), "hello", "--key", "k", "--data", '{"a": [1]}', "--url", web_url, cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    row = json.loads(sent.stdout)
    with tail(str(user), "--since", "all", "--url", web_url, cwd=tmp_path) as process:
        while (line := next_line(process))["id"] != row["id"]:
            pass  # rows for everyone that other tests sent
        assert line["message"] == "hello"
        assert line["key"] == "k"
        assert line["data"] == {"a": [1]}
        assert isinstance(line["seq"], int)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_row_for_everyone_has_no_user(web_url: str, tmp_path: Path) -> None:
    sent = rowcast("send", "--everyone", "hi all", "--url", web_url, cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    row = json.loads(sent.stdout)
    assert (row["user_id"], row["message"]) == (None, "hi all")


def test_what_the_web_refuses_is_told_in_its_own_words(web_url: str, tmp_path: Path) -> None:
    for command in (["send", "me", "x"], ["tail", "me"]):
        refused = rowcast(*command, "--url", web_url, cwd=tmp_path)
        assert refused.returncode == 1
        assert "400" in refused.stderr
        assert "user id" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_reader_that_goes_is_no_error(web_url: str, user: int, tmp_path: Path) -> None:
    with tail(str(user), "--since", "all", "--url", web_url, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.close()
        for number in range(2):
            httpx.post(f"{web_url}/notifications", json={"user_id": user, "message": str(number)}, trust_env=False)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_people_get_a_coloured_line_that_cannot_steer_their_terminal(web_url: str, user: int, tmp_path: Path) -> None:
    body = {"user_id": user, "message": "red \x1b[31m\nalert", "key": "k7"}
    httpx.post(f"{web_url}/notifications", json=body, trust_env=False).raise_for_status()
    reading, writing = pty.openpty()
    with tail(str(user), "--since", "all", "--url", web_url, cwd=tmp_path, stdout=writing) as process:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as screen:
            line = next(line for line in screen if "k7" in line)
            assert "red \\x1b[31m\\nalert" in line
            assert "\x1b[1m" in line, "bold"
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0


class Script(BaseHTTPRequestHandler):
    """A web that answers each request for a stream with the next part of a script, and notes where the client stands."""

    parts: list[tuple[int, bytes]]
    positions: list[str | None]
    credentials: list[str | None]

    def do_GET(self) -> None:
        self.positions.append(self.headers.get("Last-Event-ID"))
        self.credentials.append(self.headers.get("Authorization"))
        status, body = self.parts.pop(0) if self.parts else (400, b"done")
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def script() -> Iterator[tuple[str, type[Script]]]:
    class Handler(Script):
        parts: list[tuple[int, bytes]] = []  # noqa: RUF012
        positions: list[str | None] = []  # noqa: RUF012
        credentials: list[str | None] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_token_of_a_file_is_shown_to_the_web_and_to_nobody_else(
    script: tuple[str, type[Script]], tmp_path: Path
) -> None:
    url, handler = script
    handler.parts = [(200, b'retry: 20\n\ndata: {"message":"one"}\nid: 5\n\n'), (401, b'{"detail":"It has expired."}')]
    (tmp_path / "token").write_text("the.very.token\n")
    done = rowcast("tail", "1", "--url", url, "--log-level", "debug", cwd=tmp_path, ROWCAST_TOKEN_FILE="token")
    assert handler.credentials == ["Bearer the.very.token"] * 2
    assert done.returncode == 1
    assert "It has expired. `rowcast token 1 --scope read`" in done.stderr
    assert "the.very.token" not in done.stdout + done.stderr


def test_a_key_is_for_the_up_beside_and_for_no_other_web(script: tuple[str, type[Script]], tmp_path: Path) -> None:
    url, handler = script
    key = "a secret of one's own, long enough to be taken"
    done = rowcast("tail", "1", "--url", url, cwd=tmp_path, ROWCAST_AUTH="jwt", ROWCAST_JWT_KEY=key)
    assert done.returncode == 1
    assert handler.credentials == [None]


def test_it_goes_on_from_where_it_was_through_every_kind_of_end(
    script: tuple[str, type[Script]], tmp_path: Path
) -> None:
    url, handler = script
    handler.parts = [
        (200, b'retry: 20\n\n:\ndata: {"message":"one"}\nid: 5\n\n'),
        (503, b""),
        (200, b'event: hello\ndata: {"seq":5}\nid: 5\n\nid: 9\n\n'),
        (200, b'data: {"message":"two"}\nid: 12\n\ndata: {"message":"cut off'),
        (200, b'event: reset\ndata: {"reason":"pruned","oldest":20}\nid: 19\n\n'),
    ]
    done = rowcast("tail", "1", "--url", url, "--since", "all", cwd=tmp_path)
    assert handler.positions == [None, "5", "5", "9", "12", "19"]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"seq": 5, "message": "one"},
        {"seq": 12, "message": "two"},
        {"event": "reset", "seq": 19, "reason": "pruned", "oldest": 20},
    ]
    assert done.returncode == 1, "the script's end is a 400"
    assert "connection lost (503" in done.stderr
    assert "connected again" in done.stderr
