# Everything is installed into .venv, at the versions that constraints.txt pins.
PYTHON ?= python3.11
BIN := .venv/bin
RUN := $(BIN)/python

.PHONY: help install install-dev demo test package lint format clean

help:
	@echo "make demo    install, and build a small subset of a drawn miniature ImageNet"
	@echo "make test    install, check and test everything"
	@echo "make lint    ruff and mypy;  make format  ruff format"

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: .venv/installed

install-dev: .venv/installed-dev

demo: install
	$(RUN) -m pipelines.build

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# With SUBSETS_REAL_DATA set, the suite that reads real photographs runs as well.
MARKED := -m "not torch$(if $(SUBSETS_REAL_DATA),, and not real)"
test: lint
	$(BIN)/pytest $(MARKED) --cov=pipelines --cov=transforms --cov-branch \
	  --cov-report=term:skip-covered --durations=10

# The wheel alone, in a folder of its own, must build the demonstration.
package: install-dev
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/pip install --quiet --no-deps --target build/installed build/wheel/*.whl
	cd build && PYTHONPATH=installed ../$(RUN) -m pipelines.build --output demonstration

clean:
	rm -rf .venv build dist *.egg-info
