# Everything is built in release mode: one set of compiled dependencies, and tests at the speed of what is shipped.
CARGO ?= cargo
# Empty it (make test CARGO_FLAGS=) to let cargo write Cargo.lock while dependencies are being changed.
CARGO_FLAGS ?= --locked
# Debian's interpreter, since Debian's torch is built for it, with ONNX Runtime beside: scripts/setup.sh makes it.
PYTHON ?= .dorfman/python/bin/python
# Without the second line, OpenMP's threads spin against each other: up to 8 times slower. Without the third, glibc gives each large tensor
# back to the system, page by page: photos pass a network up to 4 times slower.
TRAINING_ENV = PYTHONPATH=training PYTHONDONTWRITEBYTECODE=1 \
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 \
	MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592

.DEFAULT_GOAL := help
# The setups share apt, and two cores are soon busy: one after another.
.NOTPARALLEL:
.PHONY: help demo demo-photos test test-rust test-training bench bench-paper paper-data lint doc train results check-deploy test-kubernetes build build-tests \
	test-alerts image

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-build setup-onnxruntime setup-dataset build ## find the rare images of a stream, here, in one command
	target/release/dorfman demo

# The plan that docs/results.md recommends for it.
demo-photos: setup-build setup-onnxruntime build ## the same with photos: shoes among garments
	DORFMAN_RETEST__POOLED_SENSITIVITY=0.98 DORFMAN_RETEST__CHAIN=[2] target/release/dorfman demo --bundle models/shoes --data models/shoes/photos.zip \
		--group-size 4 --negatives 2400 --out target/demo-photos

build: ## build the worker, target/release/dorfman
	$(CARGO) build --release $(CARGO_FLAGS)

# What tests depend on turns on features of what the worker depends on, so this binary is another than `build`'s: one of them is enough.
build-tests: setup-build
	$(CARGO) test --release $(CARGO_FLAGS) --no-run --lib --bins --tests

# The Rust tests come last, so that the last line says how they went.
test: setup-build setup-onnxruntime setup-dataset setup-kafka lint doc test-training build-tests check-deploy test-rust ## run every check and test

test-rust: setup-build setup-onnxruntime setup-dataset setup-kafka ## run the Rust tests
	$(CARGO) test --release $(CARGO_FLAGS) --doc
	$(CARGO) test --release $(CARGO_FLAGS) --lib --bins --tests

test-training: setup-python setup-dataset ## run the tests of training/ and of the tables of docs/results.md
	$(TRAINING_ENV) $(PYTHON) -m pytest training/tests scripts/test_results.py -q -p no:cacheprovider

bench: setup-build setup-onnxruntime setup-dataset ## measure, and print each figure
	$(CARGO) run --release $(CARGO_FLAGS) -- profile --bundle models/fashion-bag --seconds 10
	$(CARGO) run --release $(CARGO_FLAGS) -- bench

# PAPER=DIR: the paper's recorded scores (docs/retesting.md), which are not part of this repository. BENCH_PAPER=...: more options, such as
# --groups 128; `dorfman bench --help` has them.
PAPER ?= $(or $(DORFMAN_PAPER_DATA),../shared/paper)
bench-paper: paper-data setup-build setup-onnxruntime setup-python build ## measure what the paper's network saves in seconds; some minutes
	$(TRAINING_ENV) $(PYTHON) -m dorfman_training.paper --out target/paper
	target/release/dorfman bench paper --data $(PAPER) --bundles target/paper $(BENCH_PAPER)

# First of all: the rest takes minutes.
paper-data:
	@test -f "$(PAPER)/index.csv" || { \
		echo "bench-paper: there is no $(PAPER)/index.csv; PAPER=DIR names the folder of the paper's recorded scores (docs/retesting.md)" >&2; \
		exit 64; }

lint: setup-build setup-lint ## check formatting, clippy, the shell scripts, and Python's types and style
	$(CARGO) fmt --check
	$(CARGO) clippy --release $(CARGO_FLAGS) --all-targets -- -D warnings
	shellcheck scripts/*.sh .ci/run
	.dorfman/lint/bin/ruff check --quiet
	.dorfman/lint/bin/ruff format --check --quiet
	.dorfman/lint/bin/mypy
	.dorfman/lint/bin/mypy charts/tests
	scripts/results.py --check

doc: setup-build ## build the API documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release $(CARGO_FLAGS) --no-deps

# Photos that are not part of this repository: CLOTHING=DIR and FIREARMS=DIR, see scripts/results.py --help. RESULTS=--tables measures nothing.
results: setup-build setup-onnxruntime setup-python setup-dataset build ## train every design and measure it: docs/results.md
	$(TRAINING_ENV) PYTHON=$(PYTHON) scripts/results.py $(RESULTS) $(if $(CLOTHING),--clothing $(CLOTHING)) $(if $(FIREARMS),--firearms $(FIREARMS))

train: setup-python setup-dataset ## train, calibrate and export fashion-bag
	$(TRAINING_ENV) $(PYTHON) -m dorfman_training make-bundle training/configs/fashion-bag.toml

check-deploy: setup-helm setup-crds setup-kubernetes-validate setup-prometheus ## check the chart, the compose file and the schemas, without a cluster
	scripts/check-deploy.sh
	.dorfman/venv/bin/python scripts/check_schemas.py
	scripts/check-alerts.sh

# Out of `test`, as its alerts take their minutes.
test-alerts: setup-build setup-onnxruntime setup-kafka setup-prometheus build ## show alerts firing, from the worker to a webhook
	scripts/test_alerts.py

image: setup-onnxruntime setup-dataset setup-image ## build the container image without a daemon, and run the demo in it
	scripts/image.sh

# Not a part of test: building the control plane takes ten minutes and more, once.
test-kubernetes: setup-helm setup-crds setup-kubernetes-validate setup-kubernetes ## install the chart on a real control plane, with simulated nodes
	.dorfman/venv/bin/python scripts/test_kubernetes.py

setup-%: ## fetch one thing that's needed; scripts/setup.sh lists them
	@scripts/setup.sh $*
