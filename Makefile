# make            .venv with everything in it; quick the second time
# make demo       trained model and Llama-2-7B: trace, simulation, reports under demo/
# make test       style, types, floors, then the tests on all cores (at most four)
# make test-all   the slow proofs as well
# make lint       style, types, floors only
# make clean      remove what the above made

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := env
.PHONY: env demo test test-all lint clean

PYTHON ?= python3
DEMO_PROMPT ?= 16
DEMO_DECODE ?= 8
DEMO_TEXT ?= models/skipgpt.py

BIN := .venv/bin
# command:Debian package; Verilator's programs are compiled with the first two, again with ccache, pyverilog needs the last
TOOLS := g++:g++ make:make ccache:ccache iverilog:iverilog
HEADERS := lz4.h:liblz4-dev zlib.h:zlib1g-dev
STAMP := .venv/installed
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses=4 --dist=worksteal

export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export DEBIAN_FRONTEND := noninteractive

env: $(STAMP)

# Debian and Ubuntu ship ensurepip apart from python3, hence the apt line.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null \
	  || { echo "make: no $(PYTHON) on PATH; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed: make PYTHON=python3.12" >&2; exit 2; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  package=python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $$package"; apt-get update -qq && apt-get install -y -qq $$package >/dev/null; \
	  else \
	    echo "make: $(PYTHON) cannot create environments; install $$package, e.g. sudo apt-get install $$package" >&2; exit 2; \
	  fi; \
	fi
	@missing=$$( { for tool in $(TOOLS); do command -v $${tool%%:*} >/dev/null || echo $${tool##*:}; done; \
	  for header in $(HEADERS); do echo "#include <$${header%%:*}>" | g++ -E -x c++ - >/dev/null 2>&1 || echo $${header##*:}; done; \
	  } | sort -u); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing" $$missing; apt-get update -qq && apt-get install -y -qq $$missing >/dev/null; \
	  else \
	    echo "make: co-simulation needs" $$missing"; install them, e.g. sudo apt-get install" $$missing >&2; exit 2; \
	  fi; \
	fi
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "installing into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install -qq --editable '.[models,rtl,dev]'
	@touch $@

demo: $(STAMP)
	@mkdir -p demo
	@$(BIN)/skipopu trace --checkpoint shipped --text $(DEMO_TEXT) --prompt 128 --decode 64 -o demo/trained.trace
	@$(BIN)/skipopu sim demo/trained.trace --dense -o demo/trained
	@$(BIN)/skipopu trace skipgpt --shape llama2-7b --prompt $(DEMO_PROMPT) --decode $(DEMO_DECODE) -o demo/llama2-7b.trace
	@$(BIN)/skipopu sim demo/llama2-7b.trace --dense -o demo/llama2-7b

test: lint
	@$(PYTEST) -m "not slow"

test-all: lint
	@$(PYTEST)

lint: $(STAMP)
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q tests/house/test_imports_go_down_the_floors.py

clean:
	@rm -rf .venv build demo *.egg-info .cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
