# Every target does its own set-up. What is made once leaves a stamp in .make/ and is made again when what
# it depends on changes. Needs python3.13 on the PATH, or PYTHON=/path/to/it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3.13
ARCHITECTURE ?= $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
BIN := .venv/bin
# The package lies in the layer that ships it. It is not installed into .venv, where the functions of the local
# stack would find it even if they lacked the layer.
RUN := PYTHONPATH=layers/shared $(BIN)/python
SAM := .venv-sam/bin/sam
MERMAID := 11.17.2
# A fourth S3 server for the tests, where there is a compiler of Go.
VERSITYGW := $(if $(shell command -v go),.make/go/versitygw)
# Given by hand: make test ARGS="tests/unit -k batches"
ARGS ?=

# What the local stack and a build run by: the developers' environment where it is there or will be, else a smaller one.
FOR_USERS := help local-install local-up local-down demo demo-keep build build-digest deploy docs-site
STACK := $(if $(wildcard .make/venv)$(filter-out $(FOR_USERS),$(MAKECMDGOALS)),venv,venv-local)
STACK_RUN := PYTHONPATH=layers/shared .$(STACK)/bin/python

# A dummy region and credentials, because sam asks for some even where it makes no call.
SAM_ENV = PATH="$(CURDIR)/$(1):$$PATH" SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 \
	AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none

files = $(shell find $(wildcard $(1)) -type f -not -name '*.pyc' 2>/dev/null)
DEPLOYED := $(call files,template.yaml functions layers statemachine)
CODE := $(DEPLOYED) $(call files,local tests tools bench docs mkdocs.yml pyproject.toml)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .make/build-$(ARCHITECTURE) ## start Milvus and an emulated AWS, back up twice, lose everything, restore it
	@$(STACK_RUN) -m local.demo

.PHONY: demo-keep
demo-keep: .make/build-$(ARCHITECTURE) ## the same, and keep everything running to look at until Ctrl-C
	@$(STACK_RUN) -m local.demo --keep

.PHONY: bench
bench: .make/venv .make/venv-bench .make/build-$(ARCHITECTURE) ## run the benchmarks, and write docs/benchmarks.md; ARGS=--servers runs all
	$(BIN)/python -m bench.everything $(ARGS)

.PHONY: cli
cli: .make/venv-cli ## the command line, in .venv-cli/bin/milvus-vault

.PHONY: local-up
local-up: .make/build-$(ARCHITECTURE) ## start the local stack in the background; ARGS=--sample fills collections
	@$(STACK_RUN) -m local.background $(ARGS)

.PHONY: local-install
local-install: .make/$(STACK) .make/venv-sam ## what local-up and build need, without starting anything

.PHONY: local-down
local-down: .make/$(STACK) ## stop it, and remove all that it holds
	@$(STACK_RUN) -m milvus_vault.cli.main local down

# Two minutes of a processor, of the version whose answers are on record. Not built, its tests are skipped by name.
.make/go/versitygw: tests/contract/s3_habits.yaml
	@GOBIN="$(CURDIR)/$(@D)" go install github.com/versity/versitygw/cmd/versitygw@$$(sed -n 's/^  versitygw: //p' $<) \
		&& touch $@ || echo "versitygw was not built, and the tests do not ask it"

# Three at a time, each with servers of its own: on two cores, since a test waits for Milvus a third of its time. Files in
# the order of their names, so that the short ones of tests/unit come last. With bytecode, also where the environment says not to write it: each worker, and each command that a test
# starts, would else compile all modules again.
PYTEST := PATH="$(CURDIR)/.make/go:$$PATH" PYTHONDONTWRITEBYTECODE= \
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder

.PHONY: test
test: .make/venv .make/build-$(ARCHITECTURE) $(VERSITYGW) ## run the tests, each way through the product once
	$(PYTEST) $(ARGS)
	$(if $(ARGS),,@touch .make/test)

.PHONY: test-all
test-all: .make/venv .make/build-$(ARCHITECTURE) $(VERSITYGW) ## run all tests, and then test-faults: before a release
	@rm -f .make/features.json .make/rights*
	$(PYTEST) --all
	$(RUN) -m tests.compatibility.table
	$(RUN) -m tests.rights --forget
	$(BIN)/python -m tests.tiers
	@$(MAKE) test-faults ARGS=

.PHONY: test-tools
test-tools: .make/venv .make/build-$(ARCHITECTURE) ## the tests of the tests' own servers, which test leaves out while they stay as they are
	$(PYTEST) --all -m tools $(ARGS)
	$(BIN)/python -m tests.tiers

# What tests.mutants asks. The end-to-end tests run the functions in processes of their own.
.PHONY: reached
reached: .make/venv .make/build-$(ARCHITECTURE) ## write down which test reaches which line of the package, in .make/reached
	@rm -f .make/reached*
	$(PYTEST) --all -p tests.reaching $(addprefix tests/,unit functions conformance threads restore)
	$(BIN)/python -m coverage combine --data-file=.make/reached .make/reached.*

.PHONY: test-faults
test-faults: .make/venv ## the properties over faults and odd input, with 10,000 cases each
	$(PYTEST) --all --hypothesis-profile=many -k whatever tests/unit tests/restore/test_faults.py $(ARGS)

.PHONY: check
check: check-static .make/test ## everything that must hold before a merge: check-static, and test unless it just ran

.PHONY: check-static
check-static: lint type check-template check-docs check-site check-checkov ## what can be checked without running the tests

.PHONY: lint
lint: .make/venv ## format, style, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PYTHONPATH=layers/shared $(BIN)/lint-imports

.PHONY: type
type: .make/venv ## types
	$(BIN)/mypy
	$(BIN)/mypy functions

.PHONY: check-template
check-template: .make/venv .make/venv-sam ## the template and the state machines
	$(call SAM_ENV,$(BIN)) $(SAM) validate
	$(call SAM_ENV,$(BIN)) $(SAM) validate --lint
	$(BIN)/python -m local.validate_asl statemachine/*.asl.yaml

# Not in `check`: from nothing it takes 95 s of a processor and 200 MB of packages, five minutes on a loaded machine.
.PHONY: check-arm64
check-arm64: .make/venv .make/arm64/got .make/arm64/built ## what is built for arm64, under an emulated Python: before a release; Debian
	$(BIN)/python -m pytest --numprocesses=0 --verbose tests/arm64 $(ARGS)

# It reads neither anchors nor merges, and so what sam build made.
.PHONY: check-checkov
check-checkov: .make/build-$(ARCHITECTURE) .make/venv-checkov ## what checkov asks of the template, but for .checkov.yaml
	.venv-checkov/bin/checkov --config-file .checkov.yaml --file .aws-sam/build/template.yaml

.PHONY: check-docs
check-docs: .make/venv ## generated documents say what the code says
	$(RUN) -m tools.generate_docs --check

# mkdocs tells of its own future on each start. With --quiet it counts no warnings, and --strict passes whatever is wrong.
MKDOCS := NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.PHONY: check-site
check-site: .make/venv-docs ## the documents make a site, in which every link and every anchor leads somewhere
	$(MKDOCS)

.PHONY: docs-site
docs-site: .make/venv-docs .make/mermaid.min.js ## the documents as a site, in .make/site; needs npm, for the diagrams
	$(MKDOCS)

.PHONY: build
build: .make/build-$(ARCHITECTURE) ## what is deployed, in .aws-sam/build

.PHONY: deploy
deploy: .make/build-$(ARCHITECTURE) ## deploy it, once its parameters were looked at; ARGS are those of sam deploy
	@$(STACK_RUN) -m tools.parameters --built-for $(ARCHITECTURE) $(ARGS)
	$(SAM) deploy $(ARGS)

.PHONY: build-digest
build-digest: .make/build-$(ARCHITECTURE) ## a hash over the names and bytes of all that is deployed
	@cd .aws-sam/build && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1

.PHONY: clean
clean: ## remove all that make made
	rm -rf .make .venv .venv-bench .venv-checkov .venv-cli .venv-docs .venv-local .venv-sam .local-cache build milvus_vault.egg-info .aws-sam
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# Stamps.

.make/test: $(CODE) | .make/venv .make/build-$(ARCHITECTURE)
	@$(MAKE) test ARGS=

# Bytecode with unchecked hashes: zipping loses the times that Python would compare, and Lambda's folders
# are read-only, so that every cold start would compile everything again. The tests of pyarrow with its headers and its
# Flight are 44 of the 250 MB that a function's code may have, and nothing imports them. Of pymilvus the functions import
# generated files alone; its own `__init__` would import its client, and that pandas and numpy: an empty one takes its place.
.make/build-$(ARCHITECTURE): $(DEPLOYED) .make/$(STACK) .make/venv-sam
	$(call build,.aws-sam,$(ARCHITECTURE))
	@rm -f .make/build-*
	@touch $@

# Beside what the other tests run.
.make/arm64/built: $(DEPLOYED) .make/$(STACK) .make/venv-sam
	@mkdir -p $(@D)
	$(call build,$(@D),arm64)
	@touch $@

.make/arm64/got: tools/arm64.py .make/$(STACK)
	.$(STACK)/bin/python -m tools.arm64 $(@D)/python
	@touch $@

define build
	$(call SAM_ENV,.$(STACK)/bin) $(SAM) build --cached --parallel --cache-dir $(1)/cache --build-dir $(1)/build \
		--parameter-overrides Architecture=$(2)
	cd $(1)/build/ArrowLayer/python/pyarrow && rm -rf tests include *flight*
	cd $(1)/build/PymilvusLayer/python && $(call remove_all_but,google grpc* protobuf* pymilvus* typing_extensions*)
	cd $(1)/build/PymilvusLayer/python/pymilvus && $(call remove_all_but,grpc_gen) && touch __init__.py
	.$(STACK)/bin/python -m compileall -q -j 2 --invalidation-mode unchecked-hash $(1)/build
endef

.make/venv: requirements/dev.txt
	$(call make_venv,.venv)

.make/venv-local: requirements/local.txt
	$(call make_venv,.venv-local)

.make/venv-sam: requirements/sam.txt
	$(call make_venv,.venv-sam)

.make/venv-bench: requirements/bench.txt
	$(call make_venv,.venv-bench)

.make/venv-checkov: requirements/checkov.txt
	$(call make_venv,.venv-checkov)

.make/venv-docs: requirements/docs.txt
	$(call make_venv,.venv-docs)

# Else each reader's browser would fetch it from a server of somebody else's.
.make/mermaid.min.js:
	@mkdir -p .make
	cd .make && npm pack --silent mermaid@$(MERMAID) && tar xzf mermaid-$(MERMAID).tgz package/dist/mermaid.min.js
	mv .make/package/dist/mermaid.min.js $@
	rm -rf .make/package .make/mermaid-$(MERMAID).tgz

# A comma would end the argument of a call.
AS_USERS := '.[rows,console]'

# Not editable, as users have it; the stamp makes it anew when the code has changed.
.make/venv-cli: $(call files,pyproject.toml layers/shared/milvus_vault)
	$(call new_venv,.venv-cli,$(AS_USERS))
	rm -rf build milvus_vault.egg-info
	@touch $@

remove_all_but = find . -mindepth 1 -maxdepth 1 $(foreach name,$(1),-not -name '$(name)') -exec rm -rf {} +

define make_venv
	$(call new_venv,$(1),-r $<)
	@touch $@
endef

# What pip says of a machine that is offline fills a screen, and does not say so.
define new_venv
	@command -v $(PYTHON) >/dev/null || { echo "error: there is no $(PYTHON) here." \
		"Install Python 3.13, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13" >&2; exit 1; }
	rm -rf $(1)
	$(PYTHON) -m venv $(1)
	@mkdir -p .make
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2) 2>.make/pip.log || { \
		if grep -q 'connection broken' .make/pip.log; then echo "error: the index of Python packages cannot be reached." \
			"Is this machine online, and are its proxy and index set? .make/pip.log has what pip says." >&2; \
		else cat .make/pip.log >&2; fi; exit 1; }
endef
