#!/usr/bin/env bash
# Builds the container image from the Dockerfile without a daemon, and runs the demo in it with the
# restrictions that an orchestrator would apply to the worker.
#
#   scripts/image.sh [build | demo]      without an argument: both, one after the other
#
# The script pulls the base images that the Dockerfile names. If no registry can be reached, it
# makes stand-ins from Debian's packages. The base to build on comes from debootstrap, with this
# machine's Rust mounted into it. The base to run on has the packages that distroless images consist
# of, and no shell.
#
# ONNXRUNTIME=onnxruntime-gpu with BASE=... builds for GPUs; see the Dockerfile. Needs
# `scripts/setup.sh image`, and root for the stand-ins.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly suite=bookworm
readonly variant=${ONNXRUNTIME:-onnxruntime}
name=dorfman
[[ $variant == onnxruntime ]] || name=dorfman-gpu
readonly name
store=$(realpath .dorfman)/image
mkdir -p "$store"
work=$(mktemp -d "$store/work.XXXXXX")
readonly store work
trap 'clean' EXIT

say() { printf 'image: %s\n' "$*"; }

die() {
    printf 'image: %s\n' "$*" >&2
    exit 1
}

# --one-file-system: a mount that still exists in the folder must not be emptied.
clean() {
    "${runc[@]}" delete --force worker 2>/dev/null || true
    rm -rf --one-file-system "$work"
}

# The storage is separate from that of another buildah. The vfs driver needs no kernel privileges.
readonly tool=(buildah --storage-driver vfs --root "$store/storage" --runroot "$store/run")
readonly runc=(runc --root "$work/runc")

# base ARG: the base image from the environment, or else from the Dockerfile.
base() {
    local given=${!1:-}
    echo "${given:-$(sed -n "s/^ARG $1=//p" Dockerfile)}"
}

have() { "${tool[@]}" inspect --type image "$1" >/dev/null 2>&1; }

pulled() { timeout 60 "${tool[@]}" pull --quiet "$1" >/dev/null 2>&1; }

# commit FOLDER NAME OPTION...: makes an image of a folder, with these options of `buildah config`.
commit() {
    local folder=$1 image=$2 container
    shift 2
    container=$("${tool[@]}" from scratch)
    "${tool[@]}" add --quiet "$container" "$folder" / >/dev/null
    "${tool[@]}" config "$@" "$container"
    "${tool[@]}" commit --quiet --rm "$container" "$image" >/dev/null
}

# For BUILD: Debian with a C toolchain. This machine's Rust is mounted into it, because Debian's
# Rust is too old.
stand_in_build() {
    local folder="$work/build"
    have localhost/stand-in-build && return
    say "no image registry can be reached; making the build base with debootstrap"
    debootstrap --variant=minbase --include=ca-certificates,g++,gcc,libc6-dev,libssl-dev,make,pkg-config,python3-pip \
        "$suite" "$folder" >"$work/log" 2>&1 || die "debootstrap failed: $(tail -n 5 "$work/log")"
    rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
    cp /etc/apt/sources.list "$folder/etc/apt/" 2>/dev/null || true
    commit "$folder" localhost/stand-in-build --env CARGO_HOME=/usr/local/cargo \
        --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# For BASE: the packages of gcr.io/distroless/cc, except OpenSSL, which the binary must not need.
stand_in_base() {
    local folder="$work/base" package
    have localhost/stand-in-base && return
    say "no image registry can be reached; making the base to run on from Debian's packages"
    mkdir -p "$work/packages" "$folder"
    (cd "$work/packages" && apt-get download -qq -o APT::Sandbox::User=root base-files libc6 libgcc-s1 libgomp1 libstdc++6 netbase tzdata)
    for package in "$work"/packages/*.deb; do
        dpkg-deb --extract "$package" "$folder"
    done
    rm -rf "$folder"/usr/share/{doc,man,locale}
    install -d -m 1777 "$folder/tmp"
    install -d "$folder/etc/ssl/certs"
    echo 'nonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin' >"$folder/etc/passwd"
    echo 'nonroot:x:65532:' >"$folder/etc/group"
    commit "$folder" localhost/stand-in-base --user 65532
}

build() {
    local build run volumes=()
    build=$(base BUILD) run=$(base BASE)
    if ! pulled "$build"; then
        stand_in_build
        build=localhost/stand-in-build
        # This machine's certificates are mounted too: behind a proxy, they include the proxy's
        # authority.
        volumes+=(--volume "$(rustc --print sysroot):/usr/local/rust:ro" --volume /etc/ssl/certs:/etc/ssl/certs:ro)
    fi
    if ! pulled "$run"; then
        stand_in_base
        run=localhost/stand-in-base
    fi
    say "building $name on $run"
    # Docker's image format, because OCI's format has no health check.
    nice -n 5 "${tool[@]}" build --isolation chroot --format docker \
        --pull=never "${volumes[@]}" --build-arg "BUILD=$build" --build-arg "BASE=$run" --build-arg "ONNXRUNTIME=$variant" --tag "localhost/$name" .
    say "localhost/$name is built"
}

# inside ARGUMENT...: runs the image's entrypoint with these arguments, with the image's user and
# environment, under the limits of Kubernetes' restricted profile: no capabilities, no new
# privileges, a read-only root file system, /tmp in memory. VARIABLES and MOUNTS are added; ID names
# the container.
inside() {
    local bundle
    bundle=$(mktemp -d "$work/bundle.XXXXXX")
    (cd "$bundle" && "${runc[@]}" spec)
    "${tool[@]}" inspect --type image "localhost/$name" >"$bundle/image.json"
    python3 - "$bundle" "$root" "${VARIABLES:-}" "${MOUNTS:-}" "$@" <<'PYTHON'
import json, sys

bundle, root, variables, mounts, *arguments = sys.argv[1:]
image = json.load(open(f"{bundle}/image.json"))["Docker"]["config"]
user, group = (int(part) for part in image["User"].split(":"))
config = json.load(open(f"{bundle}/config.json"))
config["root"] = {"path": root, "readonly": True}
config["process"].update(
    terminal=False, cwd=image["WorkingDir"], user={"uid": user, "gid": group}, args=image["Entrypoint"] + (arguments or image["Cmd"]),
    env=image["Env"] + variables.split(), capabilities={}, noNewPrivileges=True,
)
# The container shares this machine's network, to use loopback.
config["linux"]["namespaces"] = [{"type": t} for t in ("pid", "ipc", "uts", "mount")]
config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/sys")]
config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]})
for mount in mounts.split():
    source, destination = mount.split(":")
    config["mounts"].append({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "ro"]})
json.dump(config, open(f"{bundle}/config.json", "w"))
PYTHON
    "${runc[@]}" run --bundle "$bundle" "${ID:-$(basename "$bundle")}"
}

# healthy: runs the image's own health check, as Docker would.
healthy() {
    local check
    mapfile -t check < <("${tool[@]}" inspect --type image "localhost/$name" |
        python3 -c 'import json, sys; c = json.load(sys.stdin)["Docker"]["config"]; print("\n".join(c["Healthcheck"]["Test"][len(c["Entrypoint"]) + 1:]))')
    inside "${check[@]}"
}

demo() {
    local container root port worker deadline=$((SECONDS + 120))
    container=$("${tool[@]}" from --pull-never "localhost/$name")
    root=$("${tool[@]}" mount "$container")
    say "$(du -sm --apparent-size "$root" | cut -f 1) MB; shells in it: $(find "$root" -path "*bin/*sh" | wc -l)"

    MOUNTS=/usr/share/datasets/fashion-mnist:/usr/share/datasets/fashion-mnist inside demo --out /tmp/demo

    # The brokers do not exist. A worker without brokers must still be healthy.
    port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
    printf 'kafka: {brokers: "127.0.0.1:1"}\n' >"$work/dorfman.yaml"
    local VARIABLES="DORFMAN_OPS__LISTEN=127.0.0.1:$port" MOUNTS="$work/dorfman.yaml:/etc/dorfman/dorfman.yaml"
    ! healthy 2>"$work/log" || die "the health check passes without a worker"
    ID=worker inside 2>"$work/worker.log" &
    worker=$!
    # Waits also for the log line on the missing brokers: SIGTERM must stop a running worker, not
    # one that is still warming up.
    until healthy 2>"$work/log" && grep -q "kafka consumer" "$work/worker.log"; do
        if ! kill -0 "$worker" 2>/dev/null || ((SECONDS > deadline)); then
            die "the worker is not healthy: $(cat "$work/log" "$work/worker.log")"
        fi
    done
    say "the worker is healthy according to the image's own check"
    "${runc[@]}" kill worker TERM
    wait "$worker" || die "the worker ended with $?: $(tail -n 5 "$work/worker.log")"
    say "the worker stopped at SIGTERM"
    "${tool[@]}" rm "$container" >/dev/null
}

case ${1:-all} in
build) build ;;
demo) demo ;;
all)
    build
    demo
    ;;
*) die "unknown command: $1; use build or demo" ;;
esac
