# Two images: `web`, the application (the default), and `worker`, which executes queued runs.
#   docker build --target web -t hepatica .
#   docker build --target worker -t hepatica-worker --build-arg TORCH_PIP_OPTIONS="--index-url …" .
# Networks are served by ONNX Runtime; PyTorch is in the worker's image alone.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS web-files

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

# an ordinary account without a shell: a system account's number would have to lie under 1000
RUN groupadd --gid 10001 hepatica \
    && useradd --uid 10001 --gid hepatica --no-log-init --create-home \
       --home-dir /srv/hepatica --shell /usr/sbin/nologin hepatica
WORKDIR /srv/hepatica

COPY pyproject.toml constraints.txt hashes.txt README.md LICENSE LICENSES.md ./
COPY app app
COPY ml ml
COPY templates templates
COPY static static
COPY migrations migrations
# shellcheck: the options are several words
# hadolint ignore=SC2086
RUN python3 -m venv /srv/venv \
    && /srv/venv/bin/pip install ${PIP_OPTIONS} --require-hashes -r hashes.txt \
    && /srv/venv/bin/pip install ${PIP_OPTIONS} --no-deps --no-build-isolation -e . \
    && mkdir -p var && chown hepatica:hepatica var

USER 10001:10001
VOLUME /srv/hepatica/var


FROM web-files AS worker

# pip options for PyTorch alone, such as the index of its CPU build; without them several GB of CUDA
ARG TORCH_PIP_OPTIONS=""
ARG PIP_OPTIONS=""
USER 0
# hadolint ignore=SC2046,SC2086
RUN /srv/venv/bin/pip install ${PIP_OPTIONS} ${TORCH_PIP_OPTIONS} $(grep -E '^torch==' constraints.txt) \
    && /srv/venv/bin/pip install ${PIP_OPTIONS} -e '.[postgres,train]'
USER 10001:10001

# as Ctrl+C: the first process of a container hears no SIGTERM that it does not handle
STOPSIGNAL SIGINT
CMD ["python", "-m", "app", "work"]


FROM web-files AS web

EXPOSE 8000

# Images in OCI format (buildah's and podman's default) know no HEALTHCHECK: build them with
# --format docker, or let what runs them ask /health/ready, as compose.yaml does.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import os, sys, urllib.request as r; sys.exit(r.urlopen(f\"http://127.0.0.1:{os.environ['HEPATICA_PORT']}/health/ready\", timeout=4).status != 200)"]

CMD ["python", "-m", "app", "serve"]
