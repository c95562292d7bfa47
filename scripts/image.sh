#!/usr/bin/env bash
# Builds the container image from the Dockerfile without a daemon, and runs the demo in it as an orchestrator would run the worker.
#
#   scripts/image.sh [build | demo]      both, in turn, if neither is named
#
# The bases that the Dockerfile names are pulled. Where no registry can be reached, Debian's packages stand in for them: debootstrap makes the
# one to build on, with this machine's Rust in it, and the packages that distroless images consist of make the one to run on, without a shell.
#
# ONNXRUNTIME=onnxruntime-gpu with BASE=... builds for GPUs; see the Dockerfile. Needs `scripts/setup.sh image`, and root for the stand-ins.
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

# A mount that is still there must not be emptied with the folder it lies in.
clean() {
    rm -rf --one-file-system "$work"
}

buildah() {
    command buildah --storage-driver vfs --root "$store/storage" --runroot "$store/run" "$@"
}

# base ARG: what the Dockerfile names there, if the environment doesn't.
base() {
    local given=${!1:-}
    echo "${given:-$(sed -n "s/^ARG $1=//p" Dockerfile)}"
}

have() { buildah inspect --type image "$1" >/dev/null 2>&1; }

pulled() { timeout 60 command buildah --storage-driver vfs --root "$store/storage" --runroot "$store/run" pull --quiet "$1" >/dev/null 2>&1; }

# commit FOLDER NAME OPTION...: an image of a folder, with these options of `buildah config`.
commit() {
    local folder=$1 image=$2 container
    shift 2
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder" / >/dev/null
    buildah config "$@" "$container"
    buildah commit --quiet --rm "$container" "$image" >/dev/null
}

# For BUILD: Debian with a C toolchain. This machine's Rust is mounted into it, since nothing in Debian is new enough.
stand_in_build() {
    local folder="$work/build"
    have localhost/stand-in-build && return
    say "no registry of images can be reached; debootstrap makes a base to build on"
    debootstrap --variant=minbase --include=ca-certificates,g++,gcc,libc6-dev,libssl-dev,make,pkg-config,python3-pip \
        "$suite" "$folder" >"$work/log" 2>&1 || die "debootstrap failed: $(tail -n 5 "$work/log")"
    rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
    cp /etc/apt/sources.list "$folder/etc/apt/" 2>/dev/null || true
    commit "$folder" localhost/stand-in-build --env CARGO_HOME=/usr/local/cargo \
        --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# For BASE: what gcr.io/distroless/cc consists of, but for OpenSSL, which the binary must not need.
stand_in_base() {
    local folder="$work/base" package
    have localhost/stand-in-base && return
    say "no registry of images can be reached; Debian's packages make a base to run on"
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
        # The certificates, because they are this machine's: behind a proxy of its own, only it knows whom to trust.
        volumes+=(--volume "$(rustc --print sysroot):/usr/local/rust:ro" --volume /etc/ssl/certs:/etc/ssl/certs:ro)
    fi
    if ! pulled "$run"; then
        stand_in_base
        run=localhost/stand-in-base
    fi
    say "building $name on $run"
    # In Docker's format, since OCI's has no health check.
    nice -n 5 command buildah --storage-driver vfs --root "$store/storage" --runroot "$store/run" build --isolation chroot --format docker \
        --pull-never "${volumes[@]}" --build-arg "BUILD=$build" --build-arg "BASE=$run" --build-arg "ONNXRUNTIME=$variant" --tag "localhost/$name" .
    say "localhost/$name: $(buildah inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Entrypoint}} {{.Docker.Config.Cmd}}' "localhost/$name")"
}

case ${1:-all} in
build) build ;;
*) die "no such command: $1; build or demo would be right" ;;
esac
