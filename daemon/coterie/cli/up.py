"""`coterie up`."""

from pathlib import Path

import click


@click.command("up", epilog="Example:  coterie up --slots 4 --label gpu")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Key, clock, blobs and logs.")
@click.option("--socket", type=click.Path(path_type=Path), metavar="PATH", help="Where to put the control socket.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as YAML.")
@click.option("--name", help="What people call this peer.")
@click.option("--listen", multiple=True, metavar="MULTIADDR", help="Where to listen; may repeat.")
@click.option("--announce", multiple=True, metavar="MULTIADDR", help="What to tell others instead; may repeat.")
@click.option("--label", "labels", multiple=True, help="A label of runs-on that this machine serves; may repeat.")
@click.option("--slots", type=int, help="How many tasks run here at a time.")
@click.option("--lease", "lease_s", type=float, metavar="SECONDS", help="How long a claim stands without a sign.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]))
@click.pass_context
def up(context: click.Context, /, config: Path | None, **given: object) -> None:
    """Run the daemon in the foreground, until SIGTERM, Ctrl-C or `coterie down`.

    Options override the environment (COTERIE_SLOTS=4), which overrides the settings file.
    """
    from coterie.app import run_daemon
    from coterie.settings import load_settings

    given["socket"] = given["socket"] or context.find_root().params.get("socket")
    overrides = {key: value for key, value in given.items() if value is not None and value != ()}
    context.exit(run_daemon(load_settings(config, overrides)))
