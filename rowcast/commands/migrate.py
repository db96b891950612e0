"""`rowcast migrate`."""

from __future__ import annotations

import click

from db.migrate import migrate
from rowcast.options import takes_settings
from rowcast.settings import Settings


@click.command("migrate")
@takes_settings("database_url", "user_id_type", "buckets")
@click.option(
    "--roles",
    is_flag=True,
    help="Also make the roles rowcast_writer, rowcast_bridge, rowcast_web and rowcast_pruner, and give each its rights.",
)
def command(settings: Settings, *, roles: bool) -> None:
    """Make or update Rowcast's tables in a database.

    Looks first whether this Postgres can carry Rowcast and changes nothing if it can't. Running it again changes nothing.
    Several at once wait for each other.

    \b
    Examples:
        rowcast migrate --database-url postgresql://owner:secret@db/app
        rowcast migrate --user-id-type uuid --roles        # the type is for the first time only
        rowcast migrate --buckets 64                       # for a Redis Cluster; stop bridge and web before
    """
    settings.need("database_url")
    migrate(
        settings.database_url,
        user_id_type=settings.user_id_type if settings.chosen("user_id_type") else None,
        buckets=settings.buckets if settings.chosen("buckets") else None,
        roles=roles,
        say=click.echo,
    )
