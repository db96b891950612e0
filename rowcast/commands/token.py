"""`rowcast token`."""

from __future__ import annotations

import uuid

import click

from core.clock import SystemClock
from core.durations import parse_duration
from core.errors import InvalidUserIdError
from rowcast.folders import state_folder
from rowcast.options import takes_settings
from rowcast.own_key import with_key_of_up
from rowcast.possession import running_up
from rowcast.settings import Settings
from web.auth.caller import Scope

_WORDS = " ".join(Scope)


@click.command("token")
@takes_settings("data_dir", "jwt_key", "jwt_issuer", "jwt_audience", "jwt_user_claim", "user_id_type")
@click.argument("user", required=False)
@click.option("--service", is_flag=True, help="For a program that is no user; then there is no USER.")
@click.option("--ttl", default="1h", show_default=True, metavar="DURATION", help="How long it holds, as in 30m or 7d.")
@click.option(
    "--scope", default="read view", show_default=True, metavar="WORDS", help=f"What it allows, some of: {_WORDS}."
)
@click.option("--jti", metavar="TEXT", help="Its name, by which it can be revoked; else a new UUID.")
def command(settings: Settings, *, user: str | None, service: bool, ttl: str, scope: str, jti: str | None) -> None:
    """Make a token for trying.

    Prints a token that a `rowcast web --auth jwt` with the same ROWCAST_JWT_KEY takes. That must be a secret (HS256): with
    a public key, or a JWKS, tokens are made by whoever has the private one. Without a key, that of the `rowcast up --auth jwt`
    on --data-dir is used. Nothing is asked and nothing is stored.

    \b
    Examples:
        rowcast token 1
        rowcast token 1 --ttl 10m --scope "read"
        rowcast token --service --scope "send"
        curl -H "Authorization: Bearer $(rowcast token 1)" http://127.0.0.1:8000/notifications?user_id=1
    """
    if service is (user is not None):
        raise click.UsageError("Say USER, or --service for a program that is no user.")
    from rowcast.minting import Order, make_token  # noqa: PLC0415 -- --help does without cryptography

    order = Order(user, _scopes(scope), _seconds(ttl), jti or str(uuid.uuid4()))
    try:
        click.echo(make_token(_with_key(settings), order, SystemClock().time()))
    except InvalidUserIdError as error:
        raise click.UsageError(str(error)) from error


def _with_key(settings: Settings) -> Settings:
    """With the key that it was given, else that of the `up` beside."""
    settings = settings.with_secrets("jwt_key")
    if settings.jwt_key or settings.jwks_url:
        return settings
    return with_key_of_up(settings, running_up(state_folder(settings.data_dir)))


def _scopes(text: str) -> frozenset[Scope]:
    words = text.replace(",", " ").split()
    if unknown := [word for word in words if word not in list(Scope)]:
        raise click.UsageError(f"--scope takes some of: {_WORDS}; and not {unknown[0][:80]!r}.")
    return frozenset(Scope(word) for word in words)


def _seconds(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--ttl: {error}; and not {text[:80]!r}.") from error
