# make demo and make test need nothing but Python 3.11 or newer; they set up .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extra options for pip, for instance an index with CPU builds of torch.
PIP_FLAGS ?=
# LOCKED=1 installs what deploy/locks holds, every file by its hash; TORCH=cpu takes the
# build for processors, for which TORCH_FLAGS may name an index (deploy/docs/supply.md).
LOCKED ?=
TORCH ?= cuda
TORCH_FLAGS ?=
# Where the demo writes, and its further options, for instance --open.
OUT ?= out/demo
DEMO_FLAGS ?=
# Options of the studio, for instance --open or --port 8700.
STUDIO_FLAGS ?=
GPU_FLAGS ?=

.PHONY: setup demo studio test test-slow test-faults check bench gpu-check docs coverage format proto lock sbom clean

setup: $(VENV)/.ready

PROJECTS := client server deploy/lab
EDITABLE := $(PROJECTS:%=--editable ./%)
PIP := $(BIN)/python -m pip install --disable-pip-version-check
HASHED := --require-hashes --no-deps --only-binary :all:

LOCKS := $(if $(LOCKED),$(wildcard deploy/locks/*.txt))
$(VENV)/.ready: pyproject.toml constraints.txt $(LOCKS) $(PROJECTS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; pass PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV): some minutes the first time"
ifeq ($(LOCKED),)
	@$(PIP) --constraint constraints.txt $(PIP_FLAGS) --editable '.[dev]' $(EDITABLE)
else
	@$(PIP) $(HASHED) $(PIP_FLAGS) $(TORCH_FLAGS) -r deploy/locks/torch-$(TORCH).txt
	@$(PIP) $(HASHED) $(PIP_FLAGS) -r deploy/locks/development.txt
	@$(PIP) --no-deps --no-index --no-build-isolation --editable . $(EDITABLE)
endif
	@touch $@

demo: setup
	@$(BIN)/mos-lab demo --out $(OUT) $(DEMO_FLAGS)

# The page to draw and tune, on the release that the demo made.
studio: setup
	@test -d $(OUT)/federation/sites/studio \
	  || { echo "no demo in $(OUT) yet; run: make demo"; exit 2; }
	@$(BIN)/mos-client studio --home $(OUT)/federation/sites/studio $(STUDIO_FLAGS)

test: setup
	@$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 \
	  --dist loadfile

test-slow: setup
	@$(BIN)/python -m pytest -m "slow and not faults"

test-faults: setup
	@$(BIN)/python -m pytest -m "slow or faults" tests/faults

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry protocol shared
	@for one in $(PROJECTS); do (cd $$one && $(abspath $(BIN))/deptry .) || exit 1; done

bench: setup
	@for file in tests/benchmarks/[a-z]*.py; do \
	  $(BIN)/python -m tests.benchmarks.$$(basename $$file .py) || exit 1; done

# Needs a CUDA device, no network; GPU_FLAGS=--smoke runs it tiny on the processor.
gpu-check: setup
	@mkdir -p out
	@$(BIN)/python -m tests.benchmarks.gpu_check --minutes 5 \
	  --out out/gpu_check.json $(GPU_FLAGS)

# The documentation site, API pages from the docstrings: out/docs/index.html.
docs: setup
	@$(PIP) --quiet --constraint constraints.txt $(PIP_FLAGS) --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f deploy/mkdocs.yml

# Lines that the fast tests run, by file.
coverage: setup
	@$(BIN)/coverage run -m pytest -q -m "not slow"
	@$(BIN)/coverage report --skip-covered --sort=cover

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# deploy/locks anew, after a change of constraints.txt or of a pyproject file.
lock: setup
	@$(BIN)/python deploy/lock.py --uv $(BIN)/uv

# What is installed in .venv, as CycloneDX: out/sbom.json.
sbom: setup
	@mkdir -p out
	@$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml \
	  --output-reproducible --output-format JSON --output-file out/sbom.json

proto: setup
	@cd protocol && PATH="$(CURDIR)/$(BIN):$$PATH" python -m grpc_tools.protoc \
	  -I . --python_out=. --mypy_out=. mos_protocol/manifest.proto

clean:
	rm -rf $(VENV) out build dist
