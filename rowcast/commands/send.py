"""`rowcast send`."""

from __future__ import annotations

import json
from typing import Any

import click
import httpx

from core.errors import RowcastError
from rowcast.address import open_client, refusal
from rowcast.credentials import Errand
from rowcast.options import takes_settings
from rowcast.settings import Settings
from rowcast.terminal import safe, safe_json
from web.auth.caller import Scope

_CREATED = 201


@click.command("send")
@takes_settings("url", "data_dir", "token")
@click.argument("user", required=False)
@click.argument("message", required=False)
@click.option("--everyone", is_flag=True, help="Send it to everyone; then there is no USER.")
@click.option("--key", metavar="TEXT", help="What the notification is about (GET /read/KEY finds the newest).")
@click.option("--data", metavar="JSON", help="Structured data that goes with it.")
def command(
    settings: Settings, *, user: str | None, message: str | None, everyone: bool, key: str | None, data: str | None
) -> None:
    """Send a notification to a user, or to everyone.

    Inserts a row with MESSAGE for USER, as any SQL client would, and prints it as JSON. Talks to the `rowcast up` that
    runs on --data-dir, or to --url. A web that asks for tokens is shown the one of --token-file, which must have the scope send.

    \b
    Examples:
        rowcast send 1 "hello"
        rowcast send 1 "your order" --key order-7 --data '{"state": "sent"}'
        rowcast send 1 "hello" --url https://notify.example.com --token-file token.txt
        rowcast send --everyone "back in five minutes"
        rowcast send -- -5 "an id that begins with a dash"
    """
    if everyone and user is not None and message is None:
        user, message = None, user
    if message is None or everyone is (user is not None):
        raise click.UsageError("Say USER and MESSAGE, or --everyone and MESSAGE.")
    body: dict[str, Any] = {"user_id": user, "message": message}
    if key is not None:
        body["key"] = key
    if data is not None:
        body["data"] = _parsed(data)
    click.echo(_post(settings, body))


def _parsed(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise click.UsageError(f"--data must be JSON: {error}, in {data[:80]!r}.") from error


def _post(settings: Settings, body: dict[str, Any]) -> str:
    errand = Errand(None, Scope.SEND)
    with open_client(settings, errand) as client:
        try:
            response = client.post("/notifications", json=body)
        except httpx.TransportError as error:
            raise RowcastError(f"{client.base_url} did not answer: {safe(error)}") from error
    if response.status_code != _CREATED:
        raise refusal(response, errand)
    return safe_json(response.text.strip())
