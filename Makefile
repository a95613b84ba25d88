# Every verb makes the virtual environment that it needs (.venv) and makes it anew when pyproject.toml changes.
# PYTHON names another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
WORKERS ?= 2
FUZZ_SECONDS ?= 60
PROGRAMS ?= 200
CARE ?= 10000
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --editable

.PHONY: help demo test lint bench programs crash care lvm fuzz clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(VENV)/ready-run  ## set up, then show a whole life of a snapshot
	@$(PY) -m dmsnap demo

test: $(VENV)/ready-dev  ## set up, then run all tests (those with a real kernel too, where QEMU is installed)
	@$(PY) -m dmsnap.testing.kernelvm build || echo "so the tests that need a real kernel cannot run"
	$(PY) -m pytest -n $(WORKERS) $(ARGS)

lint: $(VENV)/ready-dev  ## set up, then check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(VENV)/ready-dev  ## set up, then measure against the kernel and qemu-img, in one run (docs/benchmarks.md)
	$(PY) bench/run.py --out build/bench $(ARGS)

programs: $(VENV)/ready-dev  ## set up, then run random programs in a real kernel, in ours and crossed (PROGRAMS=…)
	$(PY) -m dmsnap.testing.programs run --seed 0 --count $(PROGRAMS) --crossed

crash: $(VENV)/ready-dev  ## set up, then judge 100,000 images of crashes, some in a real kernel too (ARGS=NAME replays)
	$(PY) -m dmsnap.testing.crash --workers $(WORKERS) $(ARGS)

care: $(VENV)/ready-dev  ## set up, then judge all care of the stores of random programs, some in a real kernel too (CARE=…)
	$(PY) -m dmsnap.testing.care_programs --count $(CARE) --workers $(WORKERS) --kernel 120 $(ARGS)

lvm: $(VENV)/ready-dev  ## set up, then have real LVM make every case in a real kernel, and compare (ARGS=NAME for one)
	$(PY) -m dmsnap.testing.lvm_anew $(ARGS)

fuzz: $(VENV)/ready-fuzz  ## set up, then fuzz the parsers for a minute (FUZZ_SECONDS=…)
	$(PY) fuzz/run.py --seconds $(FUZZ_SECONDS)

clean:  ## remove the virtual environment and every cache
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dmsnap needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "no virtual environment: on Debian and Ubuntu, install the package python3-venv" >&2; exit 1; }

$(VENV)/ready-run: pyproject.toml | $(PY)
	$(INSTALL) .
	@touch $@

$(VENV)/ready-dev: pyproject.toml | $(PY)
	$(INSTALL) '.[plot,fuse,test,lint]'
	@touch $@ $(VENV)/ready-run

$(VENV)/ready-fuzz: pyproject.toml | $(PY)
	$(INSTALL) '.[test,fuzz]'
	@touch $@ $(VENV)/ready-run
