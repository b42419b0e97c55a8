# Every target does all its own set-up; `make demo` and `make test` are the two to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

# Plain `torch` would bring gigabytes of CUDA packages along.
TORCH := torch==2.13.0

SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu') setup.py tools/build_backend.py

.PHONY: demo test bench lint format wheel clean gpu-check

demo: $(STAMPS)/build
	$(BIN)/python -m dvfast.demo demo

test: $(STAMPS)/build
	$(BIN)/python -m pytest

bench: $(STAMPS)/build
	$(BIN)/python -m pytest benchmarks --benchmark-group-by=group --benchmark-columns=min,median,iqr,rounds

lint: $(STAMPS)/build $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(find csrc tests benchmarks -name '*.cpp' -o -name '*.h' -o -name '*.cu')
	$(BIN)/mypy

format: $(STAMPS)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(find csrc tests benchmarks -name '*.cpp' -o -name '*.h' -o -name '*.cu')

wheel: $(STAMPS)/environment
	$(BIN)/pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist demo *.egg-info dvfast/*.so

$(STAMPS)/environment: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH) setuptools ninja
	@mkdir -p $(STAMPS) && touch $@

# Without isolation, so that the objects of the last build are used again.
$(STAMPS)/build: $(STAMPS)/environment $(SOURCES)
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[test]'
	@touch $@

$(STAMPS)/lint: $(STAMPS)/environment
	$(BIN)/pip install --quiet --group lint
	@touch $@

# On a machine with a GPU: its own Python, torch and nvcc, no network and no virtual environment.
gpu-check:
	$(PYTHON) tools/gpu_check.py
