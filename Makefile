# Set-up, the demo and the checks. `make demo` and `make test` need Python 3.11 or 3.12 and the package registries, nothing else.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export MLFLOW_DISABLE_TELEMETRY := true
export UV_SYSTEM_CERTS := true

.PHONY: setup demo test lint format typecheck unit lock audit-deps clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "LeukoBench needs Python 3.11 or 3.12: none was found on PATH (set PYTHON=/path/to/python)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps -e .
	@touch $@

demo: setup ## The whole flow on real data: sweep, MLflow runs, table
	@$(BIN)/leukobench sweep quickstart
	@$(BIN)/leukobench tables quickstart
	@echo "Browse every run in the MLflow UI:  $(BIN)/leukobench ui   then open the address after browse: above"

test: lint typecheck unit ## Lint, types, tests

lint: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/lint-imports

typecheck: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/pytest -n 2 --dist loadfile

format: setup
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

lock: setup ## Resolve the dependencies anew, for Python 3.11 and 3.12
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 pyproject.toml --all-extras --group dev --no-header --no-annotate --generate-hashes --output-file requirements.lock

audit-deps: setup ## Known vulnerabilities of the locked versions; says so where nothing could be checked
	@$(BIN)/python deploy/audit_deps.py $(BIN)/uv

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
