.DEFAULT_GOAL := help
.PHONY: help setup demo run images test test-full test-docker test-podman test-slurm lint format lock clean

export PATH := $(CURDIR)/.venv/bin:$(PATH)
NEXTFLOW := "$(CURDIR)/.nextflow-runtime/nextflow"
PYTHON := "$(CURDIR)/.venv/bin/python"
OUTDIR ?= results
ARGS ?=
RESUME = $(if $(wildcard .nextflow/history),-resume)
# Two at a time, each with whole files, so that what a file sets up is set up once.
PARALLEL = --numprocesses 2 --dist loadfile --no-loadscope-reorder
PIPELINE = main.nf subworkflows functions modules conf nextflow.config
LOCK = uv pip compile --quiet --upgrade --universal --python-version 3.12 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Install Python packages and Nextflow into this folder
	@scripts/bootstrap_nextflow.sh
	@scripts/bootstrap_python.sh

demo: setup ## Run the embedded demo; again: resume it
	@$(NEXTFLOW) run . -profile test $(RESUME) --outdir "$(OUTDIR)/demo" $(ARGS)

run: setup ## Run a samplesheet: make run INPUT=sheet.csv OUTDIR=results ARGS="--n_hvg 3000"
	@test -n "$(INPUT)" || { echo 'Which samplesheet? make run INPUT=sheet.csv' >&2; exit 2; }
	@$(NEXTFLOW) run . $(RESUME) --input "$(INPUT)" --outdir "$(OUTDIR)" $(ARGS)

images: ## Build the container images: make images ENGINE=podman KINDS=cpu
	@scripts/build_images.sh

test: setup ## Run the tests
	@$(PYTHON) -m pytest $(PARALLEL) -m "not slow" $(ARGS)

test-full: setup ## Run the tests, the slow ones too
	@$(PYTHON) -m pytest $(PARALLEL) $(ARGS)

test-docker: setup ## Run the demo in Docker containers and compare it with a plain run
	@tests/platforms/containers/test_engine.sh docker

test-podman: setup ## The same with Podman
	@tests/platforms/containers/test_engine.sh podman

test-slurm: setup ## Run the demo on a Slurm of this machine, with killed jobs and a drained node
	@$(PYTHON) tests/platforms/slurm/run.py $(ARGS)

lint: setup ## Check style, types and the pipeline's language
	@$(PYTHON) -m ruff check bin tests scripts benchmarks
	@$(PYTHON) -m ruff format --check bin tests scripts benchmarks
	@$(PYTHON) -m mypy
	@$(NEXTFLOW) lint $(PIPELINE)
	@scripts/check_nextflow_format.sh $(NEXTFLOW) $(PIPELINE)
	@$(PYTHON) scripts/parameters_table.py --check

format: setup ## Format the code and regenerate docs/parameters.md
	@$(PYTHON) -m ruff check --fix --select I bin tests scripts benchmarks
	@$(PYTHON) -m ruff format bin tests scripts benchmarks
	@$(NEXTFLOW) lint -format -spaces 4 $(PIPELINE)
	@$(PYTHON) scripts/parameters_table.py

lock: ## Resolve the locked Python packages anew
	@$(LOCK) pyproject.toml -o containers/requirements.lock
	@$(LOCK) --group dev -c containers/requirements.lock -o containers/requirements-dev.lock
	@echo 'awscli>=1.40,<2' | $(LOCK) - -o containers/requirements-awscli.lock
	@sed -i.orig "s/sha256 .*/sha256 $$(sha256sum <containers/requirements.lock | cut -c1-64)/" containers/environment.yml
	@rm containers/environment.yml.orig

clean: ## Remove what was installed and what runs left behind; results stay
	rm -rf .venv .uv .nextflow-runtime .nextflow .nextflow.log* work .pytest_cache .mypy_cache .ruff_cache
