# The whole developer interface. A machine needs Python 3.11+ and make; everything else is installed into .venv.
#   UV_TORCH_BACKEND=cpu make ...   takes PyTorch's CPU builds (torch and torchvision together: one build family)
#   EXTRA=gpu make ...              installs faiss-gpu instead of faiss-cpu (they own the same folder: never both)
PYTHON ?= python3
EXTRA ?= cpu
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# Milvus Lite, for the tests of that engine, needs faiss-cpu; beside faiss-gpu only the client is installed.
MILVUS := $(if $(filter gpu,$(EXTRA)),milvus,milvus-lite)
INSTALLED := $(VENV)/.installed-$(EXTRA)

.PHONY: help install demo test chaos fuzz check format bench clean
help:
	@echo "make demo    install, build the demo gallery, serve it at http://127.0.0.1:$(PORT)"
	@echo "make test    all tests        make check   lint, types, house rules"
	@echo "make chaos   30 rounds of kill -9 (DESCRY_CHAOS_ROUNDS, DESCRY_CHAOS_SEED)"
	@echo "make fuzz    10,000 hostile inputs for each parser (DESCRY_FUZZ_INPUTS, DESCRY_FUZZ_SEED)"
	@echo "make bench   benchmarks       make format  apply the formatter        make clean  remove what make installed"

install: $(INSTALLED)
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Descry needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@rm -f $(VENV)/.installed-*
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@echo "Installing Descry's dependencies (the first time downloads PyTorch; minutes on a slow line) ..."
	@$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[$(EXTRA),$(MILVUS),dev]'
	@touch $@

demo: install
	@$(BIN)/descry demo --port $(PORT)

# One thread a process: threads of several processes that share few cores spend their time on each other.
# Files in the order of collection, which puts those marked `long` first: xdist's own begins files of few tests last.
test: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# DESCRY_CHAOS_SEED=7 make chaos   other rounds; DESCRY_CHAOS_PROCESSES=3   servers of three processes
chaos: install
	@DESCRY_CHAOS_ROUNDS=$${DESCRY_CHAOS_ROUNDS:-30} DESCRY_OVERLOAD_S=$${DESCRY_OVERLOAD_S:-60} $(BIN)/python -m pytest \
		tests/end_to_end/test_chaos.py tests/end_to_end/test_overload_process.py $(ARGS)

# DESCRY_FUZZ_SEED=7 make fuzz   other inputs. Half an hour.
fuzz: install
	@DESCRY_FUZZ_INPUTS=$${DESCRY_FUZZ_INPUTS:-10000} DESCRY_FUZZ_EXAMPLES=$${DESCRY_FUZZ_EXAMPLES:-30} \
		DESCRY_FUZZ_CHAINS=$${DESCRY_FUZZ_CHAINS:-100} OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
		tests/fuzz tests/app/test_document_fuzzing.py tests/app/test_document_chains.py $(ARGS)

check: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_house.py

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
