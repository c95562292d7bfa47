#!/usr/bin/env bash
# Checks the chart, the compose file and CI's workflow without a cluster or a Docker daemon:
#   1. YAML: yamllint on what is written by hand.
#   2. Schemas: docker-compose.yml against the compose specification, the workflow against GitHub's.
#   3. The chart's README and values.schema.json are what scripts/generate.sh makes.
#   4. The chart, with its default values and with each of charts/dorfman/ci: `helm lint --strict`, `helm template`, every object
#      against Kubernetes' schemas (the oldest version the chart claims, and the newest) or its CustomResourceDefinition, and
#      scripts/check_deploy.py for what schemas can't say: names that must agree.
#   5. charts/tests: what each value does, and which values are refused.
#   6. The worker accepts the configurations that the chart renders and that compose mounts, and Helm refuses what the worker would.
# Needs `scripts/setup.sh helm crds kubernetes-validate`; for 6 the worker, built (target/release/dorfman).
# scripts/test_kubernetes.py goes on from here: it installs the chart.
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

# quietly WHAT COMMAND...: shows a command's output only if it fails.
quietly() {
    local what=$1
    shift
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        die "failed: $what"
    }
}

helm() { .dorfman/bin/helm "$@"; }

# render OUT OPTION...: the version is a newest one, since a Helm built from its modules names a very old one as its default.
render() {
    local out=$1
    shift
    helm template release "$chart" --namespace images --kube-version "${kubernetes[-1]}" "$@" >"$out"
}

accepted_by_worker() {
    # The bundle's path is the image's; here the same bundle is in the repository. What is mounted there is check_deploy.py's business.
    quietly "the worker refuses the configuration of $2" \
        env DORFMAN_MODEL__BUNDLE=models/fashion-bag DORFMAN_MODEL__PROVIDER=cpu DORFMAN_FETCH__ROOTS='[]' \
        "$worker" check --quiet --model --config "$1"
}

# refused_by_both SECTION KEY VALUE: what the worker refuses Helm must not install.
refused_by_both() {
    printf '%s: {%s: %s}\n' "$1" "$2" "$3" >"$work/wrong.yaml"
    if "$worker" check --quiet --config "$work/wrong.yaml" >"$work/log" 2>&1; then
        die "the worker accepts $1.$2: $3"
    fi
    if render "$work/refused" --set "config.$1.$2=$3" 2>"$work/log"; then
        die "the worker refuses $1.$2: $3, but the chart renders with it"
    fi
    grep -qF -- "$2" "$work/log" || {
        cat "$work/log" >&2
        die "the chart refuses $1.$2: $3 without naming it"
    }
}

quietly yamllint "$tools/yamllint" --strict -d '{extends: default, rules: {line-length: {max: 140}, document-start: disable,
    braces: {max-spaces-inside: 1}, truthy: {check-keys: false}, comments: {min-spaces-from-content: 1}}}' \
    docker-compose.yml config .github "$chart/Chart.yaml" "$chart/values.yaml" "$chart/ci"
quietly "compose schema" "$tools/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
quietly "workflow schema" "$tools/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
quietly "schema of the values' schema" "$tools/check-jsonschema" --check-metaschema "$chart/values.schema.json"
quietly "compose, beyond its schema" "$tools/python" scripts/check_deploy.py compose docker-compose.yml
say "docker-compose.yml and the workflow hold to their schemas"

quietly "what scripts/generate.sh makes of values.yaml" "$tools/python" scripts/generate_chart.py --check
say "the chart's README and schema are those of its values"

[[ -x $worker ]] || die "there is no $worker; build it first: make build"
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
    say "chart: $values renders, holds to Kubernetes ${kubernetes[*]}, and the worker accepts its configuration"
done

refused_by_both group sise 16
refused_by_both group size 65
refused_by_both model provider opencl
say "chart: what the worker refuses, Helm refuses"

quietly "the chart's tests" "$tools/python" -B -m unittest discover --start-directory charts/tests
say "chart: $(sed -n 's/^Ran \([0-9]* tests\) in.*/\1/p' "$work/log") passed"
