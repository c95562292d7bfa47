#!/usr/bin/env bash
# Checks the chart, the compose file and CI's workflow without a cluster or a Docker daemon:
#   1. YAML: yamllint on the handwritten files.
#   2. Schemas: docker-compose.yml against the compose specification, the workflow against GitHub's.
#   3. The chart's README and values.schema.json match the output of scripts/generate.sh.
#   4. The chart, with its default values and with each file of charts/dorfman/ci: `helm lint --strict`
#      and `helm template`; every object against Kubernetes' schemas (the oldest version that the chart
#      supports, and the newest) or against its CustomResourceDefinition; and scripts/check_deploy.py
#      for names that must agree, which a schema cannot check.
#   5. charts/tests: what each value does, and which values are refused.
#   6. The worker accepts the configurations that the chart renders and that compose mounts, and Helm
#      refuses the values that the worker refuses.
# Needs `scripts/setup.sh helm crds kubernetes-validate`, and for step 6 the built worker
# (target/release/dorfman). scripts/test_kubernetes.py is the next level: it installs the chart.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly chart=charts/dorfman
readonly tools=.dorfman/venv/bin
readonly kubernetes=(1.27.0 1.37.0)
worker=${DORFMAN:-target/release/dorfman}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'check-deploy: %s\n' "$*"; }

die() {
    printf 'check-deploy: %s\n' "$*" >&2
    exit 1
}

# quietly WHAT COMMAND...: runs a command and shows its output only if it fails.
quietly() {
    local what=$1
    shift
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        die "failed: $what"
    }
}

helm() { .dorfman/bin/helm "$@"; }

# render OUT OPTION...: renders the chart for the newest Kubernetes version. A Helm that was built
# from its Go modules assumes a very old version by default.
render() {
    local out=$1
    shift
    helm template release "$chart" --namespace images --kube-version "${kubernetes[-1]}" "$@" >"$out"
}

accepted_by_worker() {
    # The bundle's path is a path in the image; the same bundle is in the repository here.
    # check_deploy.py checks the mounted folders.
    quietly "the worker refuses the configuration of $2" \
        env DORFMAN_MODEL__BUNDLE=models/fashion-bag DORFMAN_MODEL__PROVIDER=cpu DORFMAN_FETCH__ROOTS='[]' \
        "$worker" check --quiet --model --config "$1"
}

# refused_by_both SECTION KEY VALUE: checks that both the worker and Helm refuse this value.
refused_by_both() {
    printf '%s: {%s: %s}\n' "$1" "$2" "$3" >"$work/wrong.yaml"
    if "$worker" check --quiet --config "$work/wrong.yaml" >"$work/log" 2>&1; then
        die "the worker accepts $1.$2: $3, and must refuse it"
    fi
    if render "$work/refused" --set "config.$1.$2=$3" 2>"$work/log"; then
        die "the worker refuses $1.$2: $3, but the chart renders with it"
    fi
    grep -qF -- "$2" "$work/log" || {
        cat "$work/log" >&2
        die "the chart refuses $1.$2: $3, but its message does not name the key"
    }
}

quietly yamllint "$tools/yamllint" --strict -d '{extends: default, rules: {line-length: {max: 140}, document-start: disable,
    braces: {max-spaces-inside: 1}, truthy: {check-keys: false}, comments: {min-spaces-from-content: 1}}}' \
    docker-compose.yml config .github "$chart/Chart.yaml" "$chart/values.yaml" "$chart/ci"
quietly "compose schema" "$tools/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
quietly "workflow schema" "$tools/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
quietly "schema of the values' schema" "$tools/check-jsonschema" --check-metaschema "$chart/values.schema.json"
quietly "compose, beyond its schema" "$tools/python" scripts/check_deploy.py compose docker-compose.yml
say "docker-compose.yml and the workflow match their schemas"

quietly "the files that scripts/generate.sh makes from values.yaml" "$tools/python" scripts/generate_chart.py --check
say "the chart's README and schema match its values"

[[ -x $worker ]] || die "$worker does not exist; build it first: make build"
accepted_by_worker config/compose.yaml compose

for values in default "$chart"/ci/*.yaml; do
    options=()
    [[ $values == default ]] || options=(--values "$values")
    quietly "helm lint ($values)" helm lint --strict --kube-version "${kubernetes[-1]}" "$chart" "${options[@]}"
    render "$work/rendered.yaml" "${options[@]}"
    "$tools/python" scripts/check_deploy.py chart "$work/rendered.yaml" "$work" || die "failed: the chart ($values)"
    for version in "${kubernetes[@]}"; do
        quietly "Kubernetes $version ($values)" "$tools/kubernetes-validate" --strict -k "$version" "$work/kubernetes.yaml"
    done
    accepted_by_worker "$work/dorfman.yaml" "$values"
    say "chart: $values renders, is valid for Kubernetes ${kubernetes[*]}, and the worker accepts its configuration"
done

refused_by_both group sise 16
refused_by_both group size 65
refused_by_both model provider opencl
say "chart: Helm refuses the values that the worker refuses"

quietly "the chart's tests" "$tools/python" -B -m unittest discover --start-directory charts/tests
say "chart: $(sed -n 's/^Ran \([0-9]* tests\) in.*/\1/p' "$work/log") passed"
