# make demo PYTHON=python3.12                                                      another Python
# make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"      torch without the CUDA libraries
PYTHON ?= python3
PIP_ARGS ?=
DEMO ?= demo

# A stamp file in .venv names the Python version and the extra that are installed. It is out of date when one of the files
# below is newer.
VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
ALL = .venv/installed-all-$(VERSION)
DEV = .venv/installed-dev-$(VERSION)
BIN = .venv/bin

TWO = --numprocesses 2 --dist loadfile
FAST = -m 'not slow'

.PHONY: help demo test test-all versions floors lint format lean docs dist clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(ALL) ## everything on rendered parts: draw, export, build, score; prints where the page is
	$(BIN)/spade-edge demo --output '$(DEMO)'

test: lint ## lint, then every test except the slow ones, on two processes
	$(BIN)/python -m pytest $(TWO) $(FAST)

test-all: FAST =
test-all: test ## lint, then every test, on two processes

floors: $(DEV) ## print the modules floor by floor; fails on an import that points up
	$(BIN)/python tests/floors.py

lint: $(DEV) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then echo $(BIN)/mypy; $(BIN)/mypy; \
	else echo "mypy is left out: the types are held against numpy's newest annotations, which need Python 3.11"; fi

format: $(DEV) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lean: $(DEV) ## test the wheel with numpy and onnxruntime alone, newest and oldest versions
	$(BIN)/python tests/lean/run.py

versions: $(DEV) ## the tests that need no torch: oldest Python with the lowest versions of the extras, newest Python
	$(BIN)/python tests/lean/versions.py

docs: $(DEV) ## build the documentation into site/, without network access
	$(BIN)/python -m mkdocs build --strict

dist: $(DEV) ## build sdist and wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation

clean: ## remove everything that make has created, including .venv
	rm -rf .venv dist site demo .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEV) $(ALL): .venv/installed-%-$(VERSION): pyproject.toml constraints.txt __init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "make: expected Python 3.10 or newer as $(PYTHON), found $(or $(VERSION),none); name another with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: expected Python's venv module, found none: apt install python3-venv" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || { \
	  echo "make: hnswlib is compiled: expected a C++ compiler, found none: apt install g++" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; \
	  sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { \
	  echo "make: hnswlib is compiled: expected Python.h, found none: apt install python3-dev" >&2; exit 1; }
	@test "$$($(BIN)/python -c 'import platform; print(platform.python_version())' 2>/dev/null)" = "$(VERSION)" \
	  || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install $(PIP_ARGS) --constraint constraints.txt --editable '.[$*]'
	@touch $@ $(if $(filter dev,$*),$(ALL))
