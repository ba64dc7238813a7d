# Needs Python >= 3.11, make and a package registry; everything else lands in .venv.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

BIN := .venv/bin
STAMP := .venv/.installed
LOCKS := requirements/api.txt requirements/worker.txt requirements/dev.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST_ARGS ?=
BENCH_ARGS ?=
CONTAINERS_ARGS ?=
TRIALS_ARGS ?=

# The tests start hundreds of processes: compiled modules are kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install models optimizers demo test lint format clients containers bench trials faults lock clean

help:
	@echo "make install     install the locked dependencies into .venv"
	@echo "make models      write the client's types, and its half that does not wait, and build the page,"
	@echo "                 where they are stale"
	@echo "make demo        start the service, run a job from POST to loss curve, stop it"
	@echo "make test        run all tests, in three processes  (PYTEST_ARGS='-k spec -n 0')"
	@echo "make lint        check: ruff, mypy, import contracts, the page's sources, Dockerfile, compose"
	@echo "                 file, lock"
	@echo "make clients     generate clients from the OpenAPI document and run a job with each"
	@echo "make containers  build the images and run the service in containers (needs an engine)"
	@echo "make format      apply ruff's fixes and formatting"
	@echo "make bench       run the benchmarks                 (BENCH_ARGS='studies' for a part)"
	@echo "make trials      prove what takes minutes           (TRIALS_ARGS='labelled' for a part):"
	@echo "                   labelled       402 runs of known trouble get their verdicts          4 min"
	@echo "                   comparison     intervals and winners are as often right as told      2 min"
	@echo "                   searches       tpe finds as much as Optuna one by one                2 min"
	@echo "                   halving        what a short first rung costs                         3 min"
	@echo "                   auto-lr        rates that are found are as good as a grid's          3 min"
	@echo "                   mnist1d        models come out as in the paper of their data         3 min"
	@echo "                   adding-problem an LSTM adds two of fifty numbers                     2 min"
	@echo "                   deepobs        published losses of SGD and Adam are found again      2 min"
	@echo "                   large-csv      a CSV of 1 GB is checked soon enough                  3 min"
	@echo "                   onnx           every kind of layer is the same as ONNX               1 min"
	@echo "                   streams        500 readers of one job lose nothing                   1 min"
	@echo "                   many-jobs      a list of 20 among 100,000 jobs is soon there         3 min"
	@echo "                   page           the page is soon there, and a row soon in its curve   3 min"
	@echo "                   requests       200 requests a second beside 2 running jobs           2 min"
	@echo "                   faults         500 kills, freezes and outages lose no job           12 min"
	@echo "                   fleet          workers taken away for 10 min cost no attempt        12 min"
	@echo "                   conformance    calls at all bounds get what the document says        7 min"
	@echo "                   injection      attacks on heads, paths and lengths lead nowhere      1 min"
	@echo "                   job-life       any calls in any order keep to the statuses           6 min"
	@echo "                   study-faults   200 kills, freezes and outages lose no study          7 min"
	@echo "make faults      the part of that name"
	@echo "make optimizers  compare twenty optimizers, each with its own best rate (docs/optimizers.md)"
	@echo "make lock        lock the newest versions that pyproject.toml allows"
	@echo "make clean       remove .venv and caches"

install: $(STAMP)

$(STAMP): $(LOCKS) pyproject.toml client/pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		p="$(PYTHON)"; \
		"$${p:-false}" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
		|| { echo "Thalweg needs Python >= 3.11 with venv and pip: install it, or name it with 'make PYTHON=/path/to/python3'" >&2; exit 1; }; \
		rm -rf .venv; "$$p" -m venv .venv; }
	@echo "Installing the locked dependencies into .venv"
	@$(PIP) install --quiet --no-compile --requirement requirements/dev.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable client --editable .
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null || true  # on all cores, unlike pip
	@$(BIN)/python scripts/client_code.py
	@$(BIN)/python scripts/page.py
	@touch $@

# The types of what is sent follow from the service's document, `_sync` from `_async`, the page from
# web/ and the document.
models: install
	@$(BIN)/python scripts/client_code.py
	@$(BIN)/python scripts/page.py

demo: install
	@$(BIN)/python -m thalweg_service.demo

# Three processes, for two cores: the tests of whole services wait for much of their time, which
# leaves a core to the others. A later -n in PYTEST_ARGS counts, and -n 0 is one.
test: models
	@$(BIN)/python -m pytest -n 3 $(PYTEST_ARGS)

# mypy takes one core for longer than all else takes another.
lint: models
	@$(BIN)/mypy & types=$$!; \
	{ $(BIN)/ruff check \
	&& $(BIN)/ruff format --check \
	&& $(BIN)/lint-imports --no-logo \
	&& $(BIN)/python scripts/page.py --check \
	&& $(BIN)/hadolint Dockerfile \
	&& $(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml \
	&& $(BIN)/python scripts/lock.py --check; }; others=$$?; \
	wait $$types && exit $$others

format: install
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# The generators are installed here only, in a folder of their own.
clients: models
	@$(BIN)/python -m tests.clients

# Needs a container engine; scripts/engine.sh starts one on a machine that has none.
containers: install
	@$(BIN)/python -m tests.containers $(CONTAINERS_ARGS)

# The reference programs of the benchmarks (JAX, optax) are installed here only.
bench: install
	@$(PIP) install --quiet --requirement requirements/bench.txt
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

trials: install
	@$(BIN)/python -m tests.trials $(TRIALS_ARGS)

faults: install
	@$(BIN)/python -m tests.trials faults

# Trains 6,600 runs: minutes on two cores.
optimizers: install
	@$(BIN)/python scripts/optimizers_docs.py $(OPTIMIZERS_ARGS)

# uv, which asks the registry for sums, is installed here only.
lock: install
	@$(PIP) install --quiet --upgrade uv
	$(PIP) install --upgrade --upgrade-strategy eager --editable client --editable '.[worker,embedded,dev,bench]'
	$(BIN)/python scripts/lock.py
	@touch $(STAMP)

clean:
	rm -rf web/node_modules web/openapi.json api/page/built
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
