# The web application. Networks are served by ONNX Runtime; PyTorch is not in this image.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

ENV PATH=/srv/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CONSTRAINT=/srv/hepatica/constraints.txt \
    ORT_DISABLE_TELEMETRY=1 \
    HEPATICA_HOST=0.0.0.0 \
    HEPATICA_PORT=8000 \
    HEPATICA_DATABASE_URL=sqlite:////srv/hepatica/var/hepatica.sqlite3

# extra pip options, such as --no-index --find-links for a build without a network
ARG PIP_OPTIONS=""

RUN useradd --system --create-home --home-dir /srv/hepatica --uid 10001 hepatica
WORKDIR /srv/hepatica

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY ml ml
COPY templates templates
COPY static static
COPY migrations migrations
RUN python3 -m venv /srv/venv \
    && /srv/venv/bin/pip install ${PIP_OPTIONS} -e '.[postgres]' \
    && mkdir -p var && chown hepatica:hepatica var

USER hepatica
VOLUME /srv/hepatica/var
EXPOSE 8000

HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, sys, urllib.request as r; sys.exit(r.urlopen(f\"http://127.0.0.1:{os.environ['HEPATICA_PORT']}/health/ready\", timeout=4).status != 200)"]

CMD ["python", "-m", "app", "serve"]
