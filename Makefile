# Everything is installed into .venv, at the versions of constraints.txt, with the
# newest supported Python of this machine, or the one that PYTHON names.
VERSIONS := 3.13 3.12 3.11
# The Python of a version, on the PATH or installed by pyenv; nothing if there is none.
# Debian's has venv, but not ensurepip, without its package python3-venv.
find_python = $(shell for python in python$(1) $$HOME/.pyenv/versions/$(1).*/bin/python; do \
  $$python -c 'import ensurepip, venv' 2> /dev/null && echo $$python && break; done)
PYTHON ?= $(firstword $(foreach version,$(VERSIONS),$(call find_python,$(version))))
BIN := .venv/bin
RUN := $(BIN)/python

.PHONY: help install install-dev demo chain test coverage test-versions test-torch test-airflow engines browser \
  bench torture audit package docs lint format clean

help:
	@echo "make demo          install the program, build a subset of a drawn miniature ImageNet"
	@echo "make chain         run the jobs from raw images to a subset with a flat difficulty histogram,"
	@echo "                   on the miniature or with IMAGENET=... N=20 M=5000 SIDE=224 MODEL=resnet50 EPOCHS=32"
	@echo "make test          install, lint and test; all suites except the following"
	@echo "make coverage      the same tests with their coverage, which takes longer"
	@echo "make test-versions    install, demonstration and fast tests on other Pythons"
	@echo "make test-torch, test-airflow   tests with large packages of their own"
	@echo "make engines, browser           install Prism and Chromium for make test"
	@echo "make bench         measure speed and memory on a quiet machine"
	@echo "make torture       faults and damaged files for hours;  make audit  vulnerabilities"
	@echo "make docs          build the documentation site in site/"
	@echo "make lint          ruff, mypy and hadolint;  make format  ruff format"

# pip is installed last: an environment without it is incomplete.
$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "error: no Python $(VERSIONS) found: looked for" \
	  "python3.13, python3.12 and python3.11 with venv on the PATH and in ~/.pyenv;" \
	  "install one (on Debian and Ubuntu python3-venv too), or give PYTHON=PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "installing the program and TensorFlow into .venv; this takes several minutes"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: .venv/installed

install-dev: .venv/installed-dev

demo: install
	$(RUN) -m pipelines.build

# The jobs from raw images to a subset with a flat difficulty histogram; a second run
# continues an interrupted one. The defaults are those of pipelines.chain.
CHAIN ?= chain
CHAIN_FLAGS = --output $(CHAIN) $(IMAGENET:%=--input %) $(N:%=--num_groups %) \
  $(M:%=--images_per_group %) $(VALIDATION:%=--min_validation_images %) \
  $(SIDE:%=--image_size %) $(MODEL:%=--model %) $(EPOCHS:%=--epochs %)

chain: install
	$(RUN) -m pipelines.chain $(CHAIN_FLAGS) $(FLAGS)

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint deploy/Dockerfile deploy/*/Dockerfile

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# SUBSETS_REAL_DATA, a folder of real photographs, adds the tests that read them.
MARKED := -m "not torch$(if $(SUBSETS_REAL_DATA),, and not real)"
PYTEST = $(BIN)/pytest $(MARKED) --numprocesses=2 --dist=worksteal --durations=10
test: lint
	$(PYTEST)

coverage: install-dev
	$(PYTEST) --cov=pipelines --cov=transforms --cov-branch --cov-report=term:skip-covered

# The other versions of Python: the demonstration has the same bytes, and tests that need
# no reader pass.
FAST_TESTS := tests/platforms tests/test_layers.py $(addprefix tests/transforms/, \
  archives grouping images index labels layouts sampling test_csv_tables.py \
  test_npz.py test_records.py test_seeds.py)
OTHERS := $(filter-out $(shell $(BIN)/python -c \
  'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null),$(VERSIONS))

.venv-3.%/installed: pyproject.toml constraints.txt
	@test -n "$(call find_python,3.$*)" || { echo "error: no Python 3.$* found" >&2; exit 1; }
	$(call find_python,3.$*) -m venv .venv-3.$*
	.venv-3.$*/bin/pip install --quiet --constraint constraints.txt --editable . \
	  hypothesis pytest pytest-timeout pytest-xdist
	@touch $@

test-versions: .venv/installed $(OTHERS:%=.venv-%/installed)
	$(foreach version,$(OTHERS),.venv-$(version)/bin/python -m pytest $(MARKED) \
	  -p no:cacheprovider --numprocesses=2 --dist=worksteal $(FAST_TESTS) &&) true

# Beam's package lacks these engines; their tests are skipped until they are installed.
engines: install
	$(RUN) tests/engines/install.py

# Tests that open pages in a browser are skipped until it is installed.
browser:
	(command -v chromium && command -v chromedriver) || \
	  (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver)

# Readers on PyTorch and the examples for it and JAX; PyTorch's Linux wheel contains CUDA (2.5 GB).
.venv-torch/installed: tests/torch/requirements.txt .venv/installed-dev
	$(BIN)/pip install --quiet --no-deps --upgrade --target .venv-torch --requirement $<
	@touch $@

test-torch: .venv-torch/installed
	PYTHONPATH=$(CURDIR)/.venv-torch $(BIN)/pytest -m torch tests/torch \
	  tests/transforms/formats/test_card.py

# Airflow has its own environment; its DAGs call the program.
.venv-airflow/installed: deploy/airflow/requirements.txt
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/pip install --quiet --no-deps --requirement $<
	@touch $@

test-airflow: .venv-airflow/installed install-dev
	.venv-airflow/bin/python -m pytest --confcutdir=tests/airflow tests/airflow

# Takes an hour on a quiet machine; needs SUBSETS_REAL_DATA.
.venv-bench/installed:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet img2dataset==1.47.0
	@touch $@

bench: install-dev .venv-bench/installed
	$(RUN) -m tests.benchmarks --write docs/benchmarks.md

# atheris contains libFuzzer: coverage-guided fuzzing of the parsers.
.venv-fuzz/installed: .venv/installed-dev
	$(BIN)/pip install --quiet --no-deps --upgrade --target .venv-fuzz atheris==3.0.0
	@touch $@

# Takes two hours; needs SUBSETS_REAL_DATA.
torture: install-dev .venv-fuzz/installed
	$(RUN) -m tests.torture.bad_images
	$(RUN) -m tests.torture.hostile_archives --whole
	PYTHONPATH=.venv-fuzz $(RUN) -m tests.torture.fuzz_parsers
	$(BIN)/pytest --timeout=0 $(wildcard tests/torture/kill_*.py tests/torture/*_faults.py) \
	  tests/torture/accounting.py tests/torture/full_disks.py
	$(RUN) -m tests.torture.large_build build/torture

audit: install-dev
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet bandit pip-audit
	.venv-audit/bin/bandit --quiet --recursive pipelines transforms
	.venv-audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

# The wheel, installed in an environment without the sources, gives the command and
# needs no file beside it. The environment sees the dependencies of .venv by a .pth file
# instead of installing them again; pip checks them against the wheel's requirements.
package: install-dev
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(RUN) -m venv build/clean
	$(RUN) -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > "$$(echo build/clean/lib/python*/site-packages)/dependencies.pth"
	build/clean/bin/pip install --quiet --no-index --constraint constraints.txt build/wheel/*.whl
	cd build && clean/bin/python ../tests/check_package.py .

# The documentation site, with an API reference; broken links are errors.
.venv-docs/installed: docs/site/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --no-deps --requirement $<
	@touch $@

docs: .venv-docs/installed
	DISABLE_MKDOCS_2_WARNING=true .venv-docs/bin/mkdocs build --quiet --strict --config-file .mkdocs.yml

clean:
	rm -rf .venv .venv-* .engines build dist site *.egg-info
