"""Composition root of the console: reads the environment, wires everything, returns the WSGI callable."""

from __future__ import annotations

import os
from collections.abc import Mapping

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store.embedded.server import data_directory
from switchpoint.router.console.access import Gate
from switchpoint.router.console.app import Console, create_app
from switchpoint.router.console.project import Project


def create(environ: Mapping[str, str] = os.environ) -> Flask:
    """The console of the project that SWITCHPOINT_REDIS_URL, SWITCHPOINT_DATA and SWITCHPOINT_PROJECT name.

    SWITCHPOINT_CONSOLE_HTTPS=1: it is reached by https alone, through one proxy, which says who asks
    (X-Forwarded-For, -Proto, -Host). SWITCHPOINT_SIMULATED_CLOCK=1: the time is that of the newest event.

    Raises:
        BadInput: the store is not named.
    """
    url = environ.get("SWITCHPOINT_REDIS_URL", "")
    if not url:
        raise BadInput(
            "is not set",
            field="SWITCHPOINT_REDIS_URL",
            fix="start it by `switchpoint console`, which sets it",
        )
    project = Project(
        redis_url=url,
        data=data_directory(environ.get("SWITCHPOINT_DATA")),
        name=environ.get("SWITCHPOINT_PROJECT", "default"),
        simulated=environ.get("SWITCHPOINT_SIMULATED_CLOCK") == "1",
    )
    https = environ.get("SWITCHPOINT_CONSOLE_HTTPS") == "1"
    app = create_app(Console(project, Gate(project.accounts, project.wall_clock, secure=https)))
    if https:  # then there is one proxy, and who asks is whom it names: failed log-ins are counted by address
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    return app
