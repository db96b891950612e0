"""`rowcast bench`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from core.errors import ConfigurationError
from rowcast.bench.figures import Report, report_of
from rowcast.bench.names import MEASUREMENTS
from rowcast.options import takes_settings
from rowcast.settings import Settings

_OUT = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command("bench")
@takes_settings(
    *("database_url", "redis_url", "buckets", "data_dir"),
    *("server", "poll_interval", "heartbeat", "stream_queue", "pool_size"),
)
@click.argument("what", nargs=-1, type=click.Choice([*MEASUREMENTS, "all"]), metavar="[WHAT]...")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="How often each is measured.")
@click.option("--quick", is_flag=True, help="Small sizes, for a try; no figures to compare.")
@click.option(
    "--json", "json_", type=_OUT, metavar="FILE", help="Write everything as JSON there; - for standard output."
)
@click.option("--html", type=_OUT, metavar="FILE", help="Write a page with tables and plots there.")
@click.option("--svg", type=_OUT, metavar="FILE", help="Write the plots there, as one picture.")
@click.option("--markdown", type=_OUT, metavar="FILE", help="Write the tables there, for docs.")
@click.option(
    "--read",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Measure nothing: take the JSON of an earlier run.",
)
def command(
    settings: Settings,
    *,
    what: tuple[str, ...],
    rounds: int,
    quick: bool,
    json_: Path | None,
    html: Path | None,
    svg: Path | None,
    markdown: Path | None,
    read: Path | None,
) -> None:
    """Measure Rowcast on this machine, beside what one would use instead.

    Starts servers of its own as `up` does, or measures on those of --database-url and --redis-url: in databases of its
    own, named rowcast_bench_..., which it makes and drops (the role needs CREATEDB), and under channel names of its own.
    Ctrl-C removes everything too. Everything runs here, the load too, so leave the machine alone meanwhile.

    WHAT is one or more of latency, writers, drain, fanout, idle, storm, claims, replay, startup; all if left out, which
    takes about a quarter of an hour. At the end stands what should be reached on two cores, and whether it was.

    \b
    Examples:
        rowcast bench
        rowcast bench --quick
        rowcast bench fanout idle --rounds 3 --html bench.html
        rowcast bench idle --server uvicorn
        rowcast bench --json bench.json --svg bench.svg
        rowcast bench --read bench.json --markdown -
    """
    writers = _writers({"json": json_, "html": html, "svg": svg, "markdown": markdown})
    if read:
        report = _read(read)
    else:
        from rowcast.bench.run import run  # noqa: PLC0415 -- with all that measuring needs

        silent = Path("-") in (json_, html, svg, markdown)
        names = [name for name in MEASUREMENTS if name in what] if what and "all" not in what else list(MEASUREMENTS)
        report = run(settings, names, rounds=rounds, quick=quick, say=lambda line: click.echo(line, err=silent))
        click.echo("\n" + "\n".join(_summary(report)), err=silent)
    for path, made in writers:
        _write(path, made(report))


def _summary(report: Report) -> list[str]:
    from rowcast.bench.tables import summary  # noqa: PLC0415

    return summary(report)


def _writers(asked: dict[str, Path | None]) -> list[tuple[Path, Callable[[Report], str]]]:
    """What to write where; raises ConfigurationError now rather than after a quarter of an hour, if it can't be drawn."""
    from rowcast.bench import page, plots, tables  # noqa: PLC0415

    if asked["html"] or asked["svg"]:
        plots.require_leather()
    ways: dict[str, Callable[[Report], str]] = {
        "json": lambda report: json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n",
        "html": page.page,
        "svg": plots.picture,
        "markdown": tables.markdown,
    }
    return [(path, ways[name]) for name, path in asked.items() if path]


def _write(path: Path, text: str) -> None:
    with click.open_file(str(path), "w", encoding="utf-8") as file:
        file.write(text)


def _read(path: Path) -> Report:
    try:
        return report_of(json.loads(path.read_text("utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"--read: {path} is not what `rowcast bench --json` writes.") from error
