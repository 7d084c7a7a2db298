# Every target makes the environment that it needs, from nothing but Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTHONS ?= 3.10 3.11 3.12 3.13

.PHONY: help demo test test-all check format soak bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      real SDK clients stream through faults, without a key"
	@echo "make test      the tests"
	@echo "make test-all  the tests on every Python of PYTHONS that is installed"
	@echo "make check     ruff and mypy"
	@echo "make soak      the slow campaigns, bounded by SOAK_MINUTES (10)"
	@echo "make bench     the benchmarks"

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/.ready
	@$(BIN)/python -m examples.demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest -m "not soak"

test-all:
	@for version in $(PYTHONS); do \
	  python=$$(command -v python$$version || ls -d $$HOME/.pyenv/versions/$$version.*/bin/python 2>/dev/null | tail -1); \
	  if [ -z "$$python" ]; then echo "Python $$version is not installed: skipped"; continue; fi; \
	  echo "Python $$version"; \
	  $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$version || exit 1; \
	done

check: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(VENV)/.ready
	$(BIN)/python -m pytest -m soak --timeout 0 -s

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.tokens
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.sdk

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis
