"""serve: the HTTP doors under gunicorn, on the embedded server unless another is configured."""

from __future__ import annotations

import click

from switchpoint.router.cli.context import Context, pass_context


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Serving processes."
)
@pass_context
@click.pass_context
def serve(ctx: click.Context, context: Context, host: str, port: int, workers: int) -> None:
    """Serve /v1/assign, /v1/predict, /v1/events and health until Ctrl-C.

    Without SWITCHPOINT_REDIS_URL an embedded server is started on the data directory and supervised; it
    binds no TCP port, and serving then listens on loopback only.

    \b
    Examples:
      switchpoint serve
      SWITCHPOINT_REDIS_URL=redis://db:6379/0 switchpoint serve --host 0.0.0.0 --workers 8
    """
    from switchpoint.router.cli.own_store import own_store
    from switchpoint.router.serving.launch import require_free
    from switchpoint.router.serving.launch import serve as run

    require_free(host, port, data=context.data)
    with own_store(context.data, host=host) as url:
        click.echo(f"serving on http://{host}:{port} (data {context.data}); Ctrl-C stops", err=True)
        environ = {"SWITCHPOINT_PROJECT": context.project}
        code = run(redis_url=url, data=context.data, host=host, port=port, workers=workers, environ=environ)
    ctx.exit(code)
