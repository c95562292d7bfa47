#!/usr/bin/env bash
# Checks the chart, the compose file and CI's workflow without a cluster or a Docker daemon:
#   1. YAML: yamllint on what is written by hand.
#   2. Schemas: docker-compose.yml against the compose specification, the workflow against GitHub's.
#   3. The chart, with its default values and with each of charts/dorfman/ci: `helm lint --strict`, `helm template`,
#      every object against Kubernetes' schemas (the oldest version the chart claims, and the newest), and
#      scripts/check_deploy.py for what schemas can't say: names that must agree, the restricted security profile.
#   4. The chart refuses values that could not work.
#   5. The worker accepts the configurations that the chart renders and that compose mounts.
# Needs `scripts/setup.sh helm kubernetes-validate`; for 5 the worker, built (target/release/dorfman).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly chart=charts/dorfman
readonly tools=.dorfman/venv/bin
readonly kubernetes=(1.25.0 1.37.0)
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

# refused WHAT OPTION...: the chart must not render with these options, and must say WHAT.
refused() {
    local what=$1
    shift
    if render "$work/refused" "$@" 2>"$work/log"; then
        die "the chart accepted $*"
    fi
    grep -qF -- "$what" "$work/log" || {
        cat "$work/log" >&2
        die "the chart refused $* without saying '$what'"
    }
}

accepted_by_worker() {
    # The bundle's path is the image's; here the same bundle is in the repository.
    quietly "the worker refuses the configuration of $2" env DORFMAN_MODEL__BUNDLE=models/fashion-bag DORFMAN_MODEL__PROVIDER=cpu \
        "$worker" check --quiet --model --config "$1"
}

quietly yamllint "$tools/yamllint" --strict -d '{extends: default, rules: {line-length: {max: 140}, document-start: disable,
    braces: {max-spaces-inside: 1}, truthy: {check-keys: false}, comments: {min-spaces-from-content: 1}}}' \
    docker-compose.yml config .github "$chart/Chart.yaml" "$chart/values.yaml" "$chart/ci"
quietly "compose schema" "$tools/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
quietly "workflow schema" "$tools/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
quietly "schema of the values' schema" "$tools/check-jsonschema" --check-metaschema "$chart/values.schema.json"
quietly "compose, beyond its schema" "$tools/python" scripts/check_deploy.py compose docker-compose.yml
say "docker-compose.yml and the workflow hold to their schemas"

[[ -x $worker ]] || die "there is no $worker; build it first: make build"
accepted_by_worker config/compose.yaml compose

for values in default "$chart"/ci/*.yaml; do
    options=()
    [[ $values == default ]] || options=(--values "$values")
    quietly "helm lint ($values)" helm lint --strict --kube-version "${kubernetes[-1]}" "$chart" "${options[@]}"
    render "$work/rendered.yaml" "${options[@]}"
    for version in "${kubernetes[@]}"; do
        quietly "Kubernetes $version ($values)" "$tools/kubernetes-validate" --strict -k "$version" "$work/rendered.yaml"
    done
    "$tools/python" scripts/check_deploy.py chart "$work/rendered.yaml" "$work/dorfman.yaml" || die "failed: the chart ($values)"
    accepted_by_worker "$work/dorfman.yaml" "$values"
    say "chart: $values renders, holds to Kubernetes ${kubernetes[*]}, and the worker accepts its configuration"
done

refused replicaCount --set replicaCount=many
refused replicas --set replicas=2
refused "must be longer than config.shutdown.deadline" --set config.shutdown.deadline=40s
refused "set gpu.count to 1" --set config.model.provider=cuda
refused "loopback" --set config.ops.listen=127.0.0.1:9464
say "chart: values that could not work are refused"
