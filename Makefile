# make reproduce: environment, then every stage · make test: environment, then the tests.
# QUALITY=long trains five times as long as the default: the best scores without a limit on time.
# make docs: the site · make pictures: the pictures that it shows, from data/ (Chromium is needed).
# make serve PORT=5000: Prefect's pages elsewhere than at 4200.
# TORCH=cpu takes torch from PyTorch's CPU index, so that a laptop need not load CUDA.
PYTHON ?= python3
QUALITY ?= default
LONG := -S train.steps=25000 -S train.ema_decay=0.999 -S train.checkpoint_interval=2000 -S train.sample_interval=4000
TORCH ?= default
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
VENV := .venv
RUN := $(VENV)/bin
PIP_INDEX := $(if $(filter cpu,$(TORCH)),--extra-index-url $(TORCH_INDEX),)
READY := $(VENV)/.ready
# `python` and `dvc` of every target are the environment's
export PATH := $(CURDIR)/$(RUN):$(PATH)

.PHONY: docs pictures environment reproduce serve test test-slow test-slow-short lint format deps golden bench gpu clean

environment: $(READY)

$(READY): requirements.lock pyproject.toml
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(RUN)/python -m pip install --quiet --disable-pip-version-check $(PIP_INDEX) -r requirements.lock
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	git rev-parse --git-dir >/dev/null 2>&1 || $(RUN)/dvc config --local core.no_scm true
	test -d .dvc || $(RUN)/dvc init --quiet
	$(RUN)/python -m kernels.warm
	touch $@

# dvc exp run leaves the changed parameters in params.yaml, where the report reads them; git checkout params.yaml goes back
reproduce: environment
	$(if $(filter-out default long,$(QUALITY)),$(error QUALITY must be default or long. Got $(QUALITY)))
	$(RUN)/dvc $(if $(filter long,$(QUALITY)),exp run $(LONG),repro)

serve: environment
	$(RUN)/python -m flows.serve $(if $(PORT),--port $(PORT))

# tests run beside one another, each on one thread; tests/SLOW.md lists what is slow, why, and what its short form runs
test test-slow test-slow-short: export OMP_NUM_THREADS := 1
BROWSER := $(and $(shell command -v chromium 2>/dev/null),$(shell command -v chromedriver 2>/dev/null))

test: environment
	$(RUN)/python -m pytest -m "not slow and not gpu" -n logical --maxprocesses 4 --dist worksteal --durations=10

test-slow: environment
	$(RUN)/python -m pytest -m "slow and not gpu" --durations=10

test-slow-short: environment
	$(if $(BROWSER),,@echo "no Chromium here: the test in a browser is left out")
	$(RUN)/python -m pytest -m "slow(short=True) and not gpu$(if $(BROWSER),, and not browser)" --durations=10

lint: environment
	$(RUN)/ruff check . && $(RUN)/ruff format --check .

format: environment
	$(RUN)/ruff check --fix . && $(RUN)/ruff format .

deps: environment
	$(RUN)/python -m tests.helpers.stage_dependencies

golden: environment
	$(RUN)/python -m tests.helpers.golden

docs: environment
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet --strict
	@echo "site/index.html; with search: $(RUN)/python -m http.server -b 127.0.0.1 -d site"

pictures: reproduce
	$(RUN)/python -m tests.helpers.pictures

bench: environment
	for script in task_sampling attention losses training_step gmm25; do $(RUN)/python -m benchmarks.$$script; done

gpu: environment
	$(RUN)/python -m benchmarks.gpu_day --out data/gpu_day_results

clean:
	rm -rf data/raw data/tokens data/tasks data/simulations data/models data/checkpoints data/metrics data/plots data/report
