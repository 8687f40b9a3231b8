# Everything a fresh machine needs; `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
GPU_VENV ?= .venv-gpu
EXPERIMENT ?= training/experiments/digits.toml
OUT ?= runs/$(basename $(notdir $(EXPERIMENT)))-$(shell date +%Y%m%d-%H%M%S)
MODELS ?= models
MODEL ?=
DEVICE ?= cpu
EXTRA ?= gpu
DOCKER_BUILD_FLAGS ?=

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml clients/python/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[training,service,cpu,tracing,dev]" -e clients/python
	@touch $@

.PHONY: setup
setup: $(VENV)/.installed ## create .venv with everything, for the CPU

.PHONY: demo
demo: setup ## train on real digits, publish, serve, classify, show: end to end
	$(BIN)/python examples/digits_demo.py

.PHONY: test
test: setup ## all tests, after the checks
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: test-fast
test-fast: setup ## the tests that need neither a training, nor data, nor a service in a process of its own; a minute
	$(BIN)/python -m pytest -m "not slow and not real_data and not system"

# An environment of its own: the extras `gpu` and `cpu` bring the same module and exclude each other.
$(GPU_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_VENV)/bin/python -m pip install --quiet -c constraints.txt -e ".[service,gpu,tracing,dev]"
	@touch $@

.PHONY: test-gpu
test-gpu: $(GPU_VENV)/.installed ## the tests that need a GPU, in an environment of their own; fails without one
	$(GPU_VENV)/bin/python -m pytest tests/service tests/system/model_changes -m cuda --require-cuda

.PHONY: check
check: setup ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: fix
fix: setup ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: audit
audit: setup ## look up known vulnerabilities of what constraints.txt pins (needs the network)
	$(BIN)/python -m tests.deployment.audit

.PHONY: docs
docs: setup ## render docs/experiments.md from the descriptions in the code, and all docs as a site into site/
	$(BIN)/python -m tests.system.experiments_page > docs/experiments.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: train
train: setup ## run EXPERIMENT (default: digits) into OUT
	$(BIN)/rbm-train run $(EXPERIMENT) --out $(OUT)

.PHONY: publish
publish: setup ## publish and promote the bundle of RUN=<run folder>
	@test -n "$(RUN)" || { echo "make publish: give RUN=<run folder>, as in RUN=runs/digits-20260101-120000"; exit 2; }
	$(BIN)/rbm-models --models-dir $(MODELS) publish $(RUN)/bundle --promote

.PHONY: serve
serve: setup ## serve a published model on DEVICE (default: cpu); MODEL=<name> when there are several
	$(if $(MODEL),RBM_MODEL=$(MODEL)) RBM_MODELS_DIR=$(MODELS) RBM_DEVICE=$(DEVICE) $(BIN)/rbm-serve

.PHONY: bench
bench: setup ## measure speed as ratios; writes bench.json and docs/performance.md (needs wrk)
	$(BIN)/python -m tests.load.bench bench.json docs/performance.md

MINUTES ?= 10
.PHONY: soak
soak: setup ## load a service for MINUTES (default: 10) and watch it; writes soak.json and docs/reliability.md (needs wrk)
	$(BIN)/python -m tests.load.soak soak.json docs/reliability.md $(MINUTES)

.PHONY: image
image: ## build the image of the service for EXTRA=gpu (default) or EXTRA=cpu
	docker build -f docker/service.Dockerfile -t rbm-service:$(EXTRA) --build-arg EXTRA=$(EXTRA) \
	    --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(DOCKER_BUILD_FLAGS) .

.PHONY: image-check
image-check: setup ## build the CPU image, run it as Compose would, scrape it, ask what the dashboards ask
	@$(MAKE) --no-print-directory image EXTRA=cpu
	$(BIN)/python -m tests.deployment.check_image rbm-service:cpu
