# make demo: train on pictures that come with the install     make check: format, lint, types, layers
# make test: run the tests                                     make clean: remove what these made
# make docs: build the documentation into site/                make pictures: renew its pictures and numbers, and the notebooks
#
# Everything happens in .venv, which the first call makes (about 520 MB on disk, a minute or two).
# Linux and macOS; CONTRIBUTING.md has the same for Windows.

PYTHON ?= python3
VENV ?= .venv
# such as "-c .ci/constraints.txt", for exactly the versions that the checks run with
PIP_FLAGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)

# two pips must not write into one environment
.NOTPARALLEL:
.PHONY: demo test check format docs pictures constraints clean

demo: $(VENV)/.installed
	$(BIN)/clownfish demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Every warning is an error; MkDocs itself is asked not to advertise its successors.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python docs/check_site.py site

pictures: $(VENV)/.installed-docs
	$(BIN)/python docs/pictures/make_pictures.py
	$(BIN)/python -m jupytext --quiet --update --to ipynb notebooks/*.py

# Renew the versions of the checks, from a fresh environment with the newest of everything.
constraints:
	$(MAKE) clean
	$(MAKE) $(VENV)/.installed-docs
	{ sed -n '/^#/p' .ci/constraints.txt; $(BIN)/python -m pip freeze --exclude-editable; } > .ci/constraints.new
	mv .ci/constraints.new .ci/constraints.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("clownfish needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make demo PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The time stamps tell when what is installed was last brought up to date with pyproject.toml;
# the sources themselves are used where they lie.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing clownfish into $(VENV); the first time, this downloads about 170 MB."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing clownfish and its development tools into $(VENV); the first time, this downloads about 170 MB."
	$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	@echo "Installing clownfish, its development tools and those of the documentation into $(VENV)."
	$(INSTALL) --editable '.[dev,docs]'
	@touch $(VENV)/.installed $(VENV)/.installed-dev $@

clean:
	rm -rf $(VENV) site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
