# What a person types. `make demo` and `make test` do all of their set-up themselves.

PYTHON ?= python3
PORT ?= 3000
BIN := .venv/bin
# A lock names exact versions and hashes, and no host: packages come from wherever pip is set up to find them.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.PHONY: help demo test proof bench lock format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         see it work at http://127.0.0.1:3000 (PORT=... another port, ONCE=1 verify and end)"
	@echo "make test         every check;  make proof  the long proofs in full;  make bench  the speeds;  make clean  back to a fresh clone"

demo: .venv/runtime
	@$(BIN)/backfill demo --port $(PORT) $(if $(filter-out 0,$(ONCE)),--once)

test: .venv/development
	@BIN=$(BIN) sh .ci/gate

proof: .venv/development
	$(BIN)/pytest -m proof -n 2

bench: .venv/development
	@$(BIN)/python -m backfill_assets_tests.benchmarks

format: .venv/development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/development
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra dev -o requirements-dev.lock
	echo uv | $(COMPILE) - -o requirements-uv.lock

clean:
	@if [ -x $(BIN)/backfill ] && [ -e .demo ]; then $(BIN)/backfill demo --remove; fi
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/uv: requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is not; name one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "setting up .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

.venv/runtime: .venv/bin/uv requirements.lock pyproject.toml
	@sh .ci/install requirements.lock
	@touch $@

.venv/development: .venv/bin/uv requirements-dev.lock pyproject.toml
	@sh .ci/install requirements-dev.lock
	@touch $@ .venv/runtime
