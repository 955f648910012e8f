# Serving by default; the same image runs any `switchpoint` command (console, worker, doctor ...).
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY switchpoint switchpoint
COPY experiment experiment
COPY analysis analysis
COPY router router
RUN python -m venv /opt/switchpoint && /opt/switchpoint/bin/pip install --no-cache-dir .

FROM python:3.11-slim
COPY --from=build /opt/switchpoint /opt/switchpoint
COPY LICENSE NOTICE /usr/share/doc/switchpoint/
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/switchpoint switchpoint
ENV PATH=/opt/switchpoint/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SWITCHPOINT_DATA=/var/lib/switchpoint
USER switchpoint
VOLUME /var/lib/switchpoint
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=1)"]
ENTRYPOINT ["switchpoint"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
