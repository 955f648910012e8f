# One command each; every target makes its own virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# tests and demo share the machine politely; override on a larger one
WORKERS ?= 2
ONCE ?=
DEMO_FLAGS := $(if $(ONCE),--once) $(if $(SEED),--seed $(SEED)) $(if $(AA),--aa)

.PHONY: demo test chaos check lint lowest bench calibrate mutants coverage clean

demo: $(VENV)/.runtime ## train two models, serve, send two weeks of shoppers, decide, promote
	$(BIN)/switchpoint demo $(DEMO_FLAGS)

test: $(VENV)/.dev ## every test but the attacks that take minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

chaos: $(VENV)/.dev ## every attack on the service, the long ones too: see docs/reliability.md
	$(BIN)/python -m pytest -m "" tests/chaos

check: lint test ## everything CI runs

lint: $(VENV)/.dev ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lowest: $(VENV)/.dev ## tests with the lowest version that each pin of pyproject.toml allows
	$(BIN)/python -m tests.lowest

bench: $(VENV)/.dev ## side by side with peers, in one run
	$(BIN)/python -m bench

calibrate: $(VENV)/.dev ## error rates, coverage and power by simulation, into docs/calibration.md
	$(BIN)/python -m tests.calibration

mutants: $(VENV)/.dev ## plant faults one by one (GROUP=rule for one group): do the tests notice?
	$(BIN)/python -m tests.mutants $(GROUP)

# GROUP=... for one group of the mutants
coverage: $(VENV)/.dev ## branches: experiment above its floor, files whose faults cost verdicts or events without a gap
	$(BIN)/python -m tests.floors $(PACKAGE)
	$(BIN)/python -m tests.mutants --coverage $(GROUP)

clean:
	rm -rf $(VENV) .lowest .coverage-data

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.runtime
