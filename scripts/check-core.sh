#!/usr/bin/env bash
# Checks that crates/core depends on no runtime, broker, asynchronous or image crate, and that it can
# be packaged without the other crates.
set -euo pipefail
cd "$(dirname "$0")/.."
flags=("$@")

# Everything that dorfman-core is built and tested with.
tree=$(cargo tree "${flags[@]}" -p dorfman-core --edges normal,build,dev --prefix none --format '{lib}')
forbidden='^(ort|ort_sys|rdkafka|rdkafka_sys|tokio|image|png|dorfman_jpeg|turbojpeg_sys|reqwest|axum)$'
if found=$(grep -E "$forbidden" <<<"$tree"); then
    echo "check-core: dorfman-core must not depend on: $(sort -u <<<"$found" | paste -sd ' ')" >&2
    exit 1
fi

cargo package "${flags[@]}" --quiet --allow-dirty -p dorfman-core
echo "dorfman-core: $(sort -u <<<"$tree" | grep -c .) crates with those of its tests; it can be packaged"
