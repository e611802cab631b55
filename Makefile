PYTHON ?= python3
TORCH ?= torch==2.13.0
SCATTER ?= torch-scatter>=2.1.2
VENV := .venv
BIN := $(VENV)/bin

SHARED := $(CURDIR)/../shared/data
ifneq ($(wildcard $(SHARED)),)
GRAPHFEW_DATA ?= $(SHARED)
export GRAPHFEW_DATA
endif

# By default glibc returns large blocks to the system after each step and gets them back zeroed. Keeping them makes training
# on a CPU about 1.3 times as fast. Other C libraries ignore these variables.
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 4000000000

# A file of version constraints, such as .ci/lowest.txt.
CONSTRAINTS ?=

.PHONY: demo test unit-test bench docs lint wheel install install-dev clean

demo: install
	$(BIN)/graphfew demo

test: lint unit-test

# Each process runs whole files of tests, with one thread and up to 2 GB of memory.
TEST_PROCESSES ?= 2
unit-test: install-dev
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile

# Every benchmark that a CPU can run; takes hours. After an interruption it continues where it stopped.
BENCHMARKS := glyphs glyphs-unlabeled glyphs-digits clinc150 clinc150-semi-supervised cifar-fs-features omniglot cifar-fs \
    omniglot-minimal omniglot-within fewrel
bench: install
	$(BIN)/graphfew bench $(BENCHMARKS:%=benchmarks/specs/%.toml) --keep-going
	$(BIN)/graphfew report benchmarks/results --out benchmarks/results/report.html

# Writes the site to site/. It needs no network; only its search needs a server (python -m http.server -d site).
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Builds the wheel and the sdist, and tests them in a new environment.
wheel: install-dev
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" .ci/wheel

install: $(VENV)/.installed

install-dev: $(VENV)/.scatter

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch is installed first and alone, so that the user chooses its build (CPU, CUDA, version). The constraints keep later
# steps from replacing it.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --no-input -q $(TORCH)
	$(BIN)/python -c "from importlib.metadata import version; print('torch==' + version('torch'))" > $(VENV)/constraints.txt
	$(if $(CONSTRAINTS),grep -v '^torch==' $(CONSTRAINTS) >> $(VENV)/constraints.txt)
	touch $@

PIP = $(BIN)/pip install --disable-pip-version-check --no-input -q -c $(VENV)/constraints.txt

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) -e .
	touch $@

# The pages show tables of the benchmark records, which are read by graphfew.benchmark.
$(VENV)/.docs: $(VENV)/.installed
	$(PIP) -e ".[docs,bench]"
	touch $@

bench: $(VENV)/.bench

$(VENV)/.bench: $(VENV)/.installed
	$(PIP) -e ".[bench]"
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) -e ".[dev]" setuptools wheel ninja packaging
	touch $@

# torch-scatter is built against the installed PyTorch, hence without build isolation.
$(VENV)/.scatter: $(VENV)/.dev
	@echo "torch-scatter: compiling takes a few minutes the first time"
	$(PIP) --no-build-isolation "$(SCATTER)"
	touch $@
