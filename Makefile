# Everything is built in release mode: the dependencies are compiled once, and tests run at the
# speed of the shipped worker.
CARGO ?= cargo
# Set it to empty (make test CARGO_FLAGS=) to let cargo update Cargo.lock when dependencies change.
CARGO_FLAGS ?= --locked
# A virtual environment on Debian's interpreter, which Debian's torch needs, with ONNX Runtime.
# scripts/setup.sh makes it.
PYTHON ?= .dorfman/python/bin/python
# The OpenMP settings keep its threads from spinning, which makes training up to 8 times slower. The
# malloc settings keep glibc from returning each large tensor to the system page by page, which
# makes networks on photos up to 4 times slower.
TRAINING_ENV = PYTHONPATH=training PYTHONDONTWRITEBYTECODE=1 \
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 \
	MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592

.DEFAULT_GOAL := help
# Targets run one after another: the setups share apt, and each build uses all cores.
.NOTPARALLEL:
.PHONY: help demo demo-photos test test-rust test-training test-faults bench bench-kafka bench-hosts bench-quota bench-gpu bench-memory bench-peers bench-latency bench-scale bench-decode bench-paper compare-viewers paper-data lint doc train results check-deploy test-kubernetes build build-tests \
	test-alerts image faults

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-build setup-onnxruntime setup-dataset build ## run the demonstration: find the rare images of a stream
	target/release/dorfman demo

# The run `pooled` uses the plan that docs/results.md recommends for photos without exits.
demo-photos: setup-build setup-onnxruntime build ## run the demonstration with photos: shoes among garments
	DORFMAN_RETEST__POOLED_SENSITIVITY=0.98 DORFMAN_RETEST__CHAIN=[2] target/release/dorfman demo --bundle models/shoes --data models/shoes/photos.zip \
		--group-size 4 --negatives 2400 --out target/demo-photos

build: ## build the worker, target/release/dorfman
	$(CARGO) build --release $(CARGO_FLAGS)

# The tests' dependencies enable features of the worker's dependencies. The binary built here
# therefore differs from that of `build`; `make test` builds only this one.
build-tests: setup-build
	$(CARGO) test --release $(CARGO_FLAGS) --workspace --no-run --lib --bins --tests

# The Rust tests run last, so that the last lines are their result.
test: setup-build setup-onnxruntime setup-dataset setup-kafka setup-viewers lint doc test-training build-tests check-deploy test-faults test-rust ## run every check and test

test-rust: setup-build setup-onnxruntime setup-dataset setup-kafka setup-viewers ## run the Rust tests
	$(CARGO) test --release $(CARGO_FLAGS) --workspace --doc
	$(CARGO) test --release $(CARGO_FLAGS) --workspace --lib --bins --tests

# IMAGES=DIR names a folder of images, such as the folder Tests/images of Pillow's sources.
compare-viewers: setup-build setup-viewers ## compare the pixels of a folder of images with those that Pillow shows
	DORFMAN_VIEWERS_FOLDER=$(abspath $(IMAGES)) $(CARGO) test --release $(CARGO_FLAGS) --test viewers -- --nocapture

test-training: setup-python setup-dataset ## run the tests of training/ and of the result tables
	$(TRAINING_ENV) $(PYTHON) -m pytest training/tests scripts/test_results.py scripts/test_results_pooling.py scripts/faults/test_oracle.py -q -p no:cacheprovider

bench: setup-build setup-onnxruntime setup-dataset ## profile the shipped bundle and run the benchmarks
	$(CARGO) run --release $(CARGO_FLAGS) -- profile --bundle models/fashion-bag --seconds 10
	$(CARGO) run --release $(CARGO_FLAGS) -- bench

# BENCH_KAFKA=... passes options, such as --images 100000: see `scripts/bench_kafka.py --help`.
bench-kafka: setup-build setup-onnxruntime setup-kafka build ## measure photos through Apache Kafka: individual, pooled, planned
	scripts/bench_kafka.py $(BENCH_KAFKA)

# BENCH_HOSTS=... passes options, such as "--small" or "--set fetch.timeout=5s": see
# `scripts/bench_hosts.py --help`.
bench-hosts: setup-build setup-onnxruntime setup-kafka setup-dataset setup-python build ## measure what a host that never answers costs the images of other hosts
	$(PYTHON) scripts/bench_hosts.py $(BENCH_HOSTS)

# BENCH_QUOTA=... passes options, such as "--quota 0.5": see `scripts/bench_quota.py --help`.
bench-quota: setup-build setup-onnxruntime setup-kafka build ## measure the throughput under a CPU quota, as for a container
	scripts/bench_quota.py $(BENCH_QUOTA)

# BENCH_MEMORY=... passes options, such as "--only files" or "--backlog 100000": see
# `scripts/bench_memory.py --help`.
bench-memory: setup-build setup-onnxruntime setup-kafka setup-dataset setup-python build ## measure the memory over a long backlog and over the largest images
	$(PYTHON) scripts/bench_memory.py $(BENCH_MEMORY)

# BENCH_GPU=... passes options, such as "--provider cuda": see `scripts/bench_gpu.py --help`.
bench-gpu: setup-build setup-onnxruntime-gpu build ## check an NVIDIA GPU against the CPU and measure it; needs CUDA 13 and cuDNN 9
	scripts/bench_gpu.py $(BENCH_GPU)

# BENCH_PEERS=... passes options, such as "--set photos --share 0.01": see
# `scripts/bench_peers.py --help`.
bench-peers: setup-build setup-onnxruntime setup-kafka setup-dataset setup-peers build ## compare with workers in Python and Bytewax; takes half an hour
	.dorfman/peers/bin/python scripts/bench_peers.py $(BENCH_PEERS)

# BENCH_LATENCY=... passes options, such as "--bundle shoes": see `scripts/bench_latency.py --help`.
bench-latency: setup-build setup-onnxruntime setup-kafka setup-dataset setup-peers build ## measure the latency of flags against the rate of references
	.dorfman/peers/bin/python scripts/bench_latency.py $(BENCH_LATENCY)

# BENCH_SCALE=... passes options, such as "--members 20": see `scripts/bench_scale.py --help`.
bench-scale: setup-build setup-onnxruntime setup-kafka build ## measure two and four workers against one, the rebalances of fifty, and the startup
	scripts/bench_scale.py $(BENCH_SCALE)

# BENCH_DECODE=... passes options: see `scripts/bench_decode.py --help`.
bench-decode: setup-build setup-onnxruntime setup-decode build ## measure decoding beside OpenCV and Pillow
	.dorfman/decode/bin/python scripts/bench_decode.py $(BENCH_DECODE)

# Not a part of `test`, because it takes a quarter of an hour. FAULTS=... passes options, such as
# "--seed 2": see `scripts/faults.py --help`. The worker is built with fail points, which can make its
# network fail. It is moved away, so that no other script takes it for the worker.
faults: setup-build setup-onnxruntime setup-kafka setup-faults ## random faults of workers, brokers and stores on a stream of 100,000 items
	$(CARGO) build --release $(CARGO_FLAGS) --features failpoints
	mkdir -p target/failpoints && mv target/release/dorfman target/failpoints/dorfman
	.dorfman/faults/bin/python scripts/faults.py --worker target/failpoints/dorfman $(FAULTS)

# With the binary of `build-tests`.
test-faults: setup-onnxruntime setup-kafka setup-faults build-tests ## a short run of `faults`, of about 100 s
	.dorfman/faults/bin/python scripts/faults.py --short --out target/faults-short

# PAPER=DIR is the folder of the paper's recorded scores (docs/retesting.md), which are not part of
# this repository. BENCH_PAPER=... passes more options, such as --groups 128: see
# `dorfman bench-paper --help`.
PAPER ?= $(or $(DORFMAN_PAPER_DATA),../shared/paper)
bench-paper: paper-data setup-build setup-onnxruntime setup-python build ## measure the time saved with the paper's network; takes minutes
	$(TRAINING_ENV) $(PYTHON) -m dorfman_training.paper --out target/paper
	target/release/dorfman bench-paper --data $(PAPER) --bundles target/paper $(BENCH_PAPER)

# Checked first, because the other steps take minutes.
paper-data:
	@test -f "$(PAPER)/index.csv" || { \
		echo "bench-paper: $(PAPER)/index.csv does not exist; set PAPER=DIR to the folder of the paper's recorded scores (docs/retesting.md)" >&2; \
		exit 64; }

lint: setup-build setup-lint ## check formatting, clippy, the shell scripts, and the types and style of the Python code
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release $(CARGO_FLAGS) --workspace --all-targets --all-features -- -D warnings
	scripts/check-core.sh $(CARGO_FLAGS)
	shellcheck scripts/*.sh .ci/run
	.dorfman/lint/bin/ruff check --quiet
	.dorfman/lint/bin/ruff format --check --quiet
	.dorfman/lint/bin/mypy
	.dorfman/lint/bin/mypy charts/tests
	scripts/results.py --check

doc: setup-build ## build the API documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release $(CARGO_FLAGS) --workspace --no-deps

# CLOTHING=DIR and FIREARMS=DIR name folders of photos that are not part of this repository: see
# scripts/results.py --help. PAPER=DIR is the folder of the paper's recorded scores, as for
# bench-paper. RESULTS=--tables writes the tables without measuring again.
results: setup-build setup-onnxruntime setup-python setup-dataset build ## train and measure every design, and write the result tables in docs/
	$(TRAINING_ENV) PYTHON=$(PYTHON) scripts/results.py $(RESULTS) $(if $(CLOTHING),--clothing $(CLOTHING)) $(if $(FIREARMS),--firearms $(FIREARMS)) \
		$(if $(wildcard $(PAPER)/index.csv),--paper $(PAPER))

train: setup-python setup-dataset ## train, calibrate and export fashion-bag
	$(TRAINING_ENV) $(PYTHON) -m dorfman_training make-bundle training/configs/fashion-bag.toml

check-deploy: setup-helm setup-crds setup-kubernetes-validate setup-prometheus ## check the chart, the compose file and the schemas, without a cluster
	scripts/check-deploy.sh
	.dorfman/venv/bin/python scripts/check_schemas.py
	scripts/check-alerts.sh

# Not a part of `test`, because the alerts take minutes to fire.
test-alerts: setup-build setup-onnxruntime setup-kafka setup-prometheus build ## test alerts end to end, from the worker to a webhook
	scripts/test_alerts.py

image: setup-onnxruntime setup-dataset setup-image ## build the container image without a daemon, and run the demo in it
	scripts/image.sh

# Not a part of `test`, because the first build of the control plane takes ten minutes or more.
test-kubernetes: setup-helm setup-crds setup-kubernetes-validate setup-kubernetes ## install the chart on a real control plane, with simulated nodes
	.dorfman/venv/bin/python scripts/test_kubernetes.py

setup-%: ## install one dependency; scripts/setup.sh lists them
	@scripts/setup.sh $*
