"""gunicorn settings of the console: one process of threads; a page that follows changes keeps one."""

from __future__ import annotations

import logging
import os

bind = os.environ.get("SWITCHPOINT_BIND", "127.0.0.1:8001")
workers = 1  # what pages show lies in files; threads share their connections
worker_class = "gthread"
threads = 200
keepalive = 5
graceful_timeout = 3  # pages that follow changes never end by themselves
timeout = 60
limit_request_line = 4094
limit_request_field_size = 8190
errorlog = "-"
loglevel = os.environ.get("SWITCHPOINT_LOG_LEVEL", "warning")
control_socket_disable = True

logging.basicConfig(level=loglevel.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
