# make test needs nothing but Python 3.11 or newer; it sets up .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extra options for pip, for instance an index with CPU builds of torch.
PIP_FLAGS ?=

.PHONY: setup test check bench format proto clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; pass PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV): a minute or two the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt $(PIP_FLAGS) --editable '.[dev]'
	@touch $@

test: setup
	@$(BIN)/python -m pytest -m "not slow"

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup
	@for file in tests/benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

proto: setup
	@cd protocol && PATH="$(CURDIR)/$(BIN):$$PATH" python -m grpc_tools.protoc \
	  -I . --python_out=. --mypy_out=. mos_protocol/manifest.proto

clean:
	rm -rf $(VENV) out build dist
