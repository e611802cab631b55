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

# glibc gives big blocks back to the system and fetches them zeroed at the next step; keeping them makes training on a CPU
# about 1.3 times as fast. Elsewhere these variables mean nothing.
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 4000000000

.PHONY: demo test bench docs lint wheel install install-dev clean

demo: install
	$(BIN)/graphfew demo

# Files of tests are shared by processes of one thread each, of up to 2 GB.
TEST_PROCESSES ?= 2
test: lint
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile

# Every benchmark that a CPU can do; hours. Interrupted, it goes on where it was.
BENCHMARKS := glyphs glyphs-unlabeled glyphs-digits clinc150 clinc150-pile cifar-fs-features omniglot cifar-fs \
    omniglot-minimal omniglot-within fewrel
bench: install
	$(BIN)/graphfew bench $(BENCHMARKS:%=benchmarks/specs/%.toml) --keep-going
	$(BIN)/graphfew report benchmarks/results --out benchmarks/results/report.html

# The site, in site/: index.html needs no network, and a server only for its search (python -m http.server -d site).
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Wheel and sdist, built, and used where nothing else of graphfew is.
wheel: install-dev
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" .ci/wheel

install: $(VENV)/.installed

install-dev: $(VENV)/.scatter

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch comes first and alone, so that its build (CPU, CUDA, a version) is the user's choice; the constraint keeps every
# later step from replacing it.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --no-input -q $(TORCH)
	$(BIN)/python -c "from importlib.metadata import version; print('torch==' + version('torch'))" > $(VENV)/constraints.txt
	touch $@

PIP = $(BIN)/pip install --disable-pip-version-check --no-input -q -c $(VENV)/constraints.txt

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) -e .
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) -e ".[docs]"
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) -e ".[dev]" setuptools wheel ninja packaging
	touch $@

# torch-scatter is built against the installed PyTorch, hence without build isolation.
$(VENV)/.scatter: $(VENV)/.dev
	@echo "torch-scatter: compiling takes a few minutes the first time"
	$(PIP) --no-build-isolation "$(SCATTER)"
	touch $@
