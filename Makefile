# Every target does all its own set-up; `make demo` and `make test` are the two to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PEERS := .venv-peers

# On Linux PyPI's wheel brings CUDA along, gigabytes; https://download.pytorch.org/whl/cpu has one without.
TORCH := torch==2.13.0
TORCH_INDEX ?=
TORCH_FROM := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu') setup.py tools/build_backend.py \
	tools/cuda_build.py

.PHONY: demo test bench bench-peers performance lint format wheel clean gpu-check

demo: $(STAMPS)/build
	$(BIN)/python -m dvfast.demo demo

test: $(STAMPS)/build
	$(BIN)/python -m pytest

# Everything that `dvfast bench` measures, into a record that a run which was stopped goes on with.
# DATA: annotated images, for accuracy against speed. What `make bench-peers` installs is compared.
RECORD ?= bench.json
bench: $(STAMPS)/build
	$(BIN)/dvfast bench -o $(RECORD) $(if $(DATA),--data $(DATA)) \
		$(if $(wildcard $(PEERS)/.stamps/done),--peers $(PEERS)/bin/python)

# Other tools of the field, for comparison, in an environment of their own.
bench-peers: $(PEERS)/.stamps/done

$(PEERS)/.stamps/done: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet $(TORCH_FROM) $(TORCH)
	$(PEERS)/bin/pip install --quiet --requirement $<
	@mkdir -p $(@D) && touch $@

# The page of figures and its plots, from the records of all machines.
performance: $(STAMPS)/build
	$(BIN)/python -m dvfast.bench.page docs/performance.md benchmarks/results/bench-*.json

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
	rm -rf $(VENV) $(PEERS) build dist demo *.egg-info dvfast/*.so

$(STAMPS)/environment: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH_FROM) $(TORCH)
	$(BIN)/pip install --quiet setuptools ninja
	@mkdir -p $(STAMPS) && touch $@

# Without isolation: the torch of this environment is the one to build against.
$(STAMPS)/build: $(STAMPS)/environment $(SOURCES)
	DVFAST_WERROR=1 $(BIN)/pip install --quiet --no-build-isolation --editable \
		'.[test,baselines,slides]'
	@touch $@

$(STAMPS)/lint: $(STAMPS)/environment
	$(BIN)/pip install --quiet --group lint
	@touch $@

# On a machine with a GPU: its own Python, torch and nvcc, no network and no virtual environment.
gpu-check:
	$(PYTHON) tools/gpu_check.py
