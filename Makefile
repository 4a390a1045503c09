# `make` lists the targets.
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DEMO := runs/demo
SHELL := /bin/bash
# Of pip's output, the packages from 10 MB on and the start of the last step.
LARGE := 's/^ *(Downloading|Using cached) (.*\/)?([^ ]+) (\([0-9]{2,}\.[0-9] MB\)).*/  \3 \4/p; s/^Installing collected.*/  unpacking all of them/p'
# A process a core, each with one thread: two files of tests at once take little more than half the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint docs figures clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: $(INSTALLED)  ## make .venv with pinned dependencies, fetch what `small` is built on
	@! [ -f asr_llm/assets/small/delta.safetensors ] || $(BIN)/asr-llm model get small >/dev/null || \
	  echo "small is not composed yet: its first use tries again" >&2

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "downloading and installing about 2.8 GB of packages into $(VENV): some minutes" >&2
	$(PYTHON) -m venv $(VENV)
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
	  -c constraints.txt -e '.[dev]' | sed -unE $(LARGE) >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[speakers]' 2>/dev/null || \
	  echo "without meeteval, which wants a C++ compiler here: scores of several speakers are left out" >&2
	@touch $@

demo: $(INSTALLED)  ## transcribe, adapt small to domains/medical in runs/demo, show the gain; go on if it was begun
	@$(BIN)/asr-llm transcribe examples/kennedy.ogg
	@echo "adapting and measuring in $(DEMO): about a quarter of an hour on two cores" >&2
	@$(BIN)/asr-llm adapt domains/medical -o $(DEMO) --resume

test: $(INSTALLED)  ## lint and the tests that take minutes together
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

test-all: $(INSTALLED)  ## lint and all tests, the slow ones too
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m ''

lint: $(INSTALLED)  ## format and check the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

docs: $(INSTALLED)  ## build the documents as a website in site/; a link that leads nowhere fails
	$(BIN)/mkdocs build

figures: $(INSTALLED)  ## count the dashboard of docs/architecture.md anew
	@$(BIN)/python tests/dashboard.py

clean:  ## remove .venv and caches; runs/ is yours and stays
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find asr_llm tests adapt -name __pycache__ -type d -prune -exec rm -rf {} +
