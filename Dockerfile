# The worker, ONNX Runtime and the shipped bundle. For the CPU:
#   docker build -t dorfman .
# For NVIDIA GPUs (x86_64), on a base image with CUDA 13 and cuDNN 9:
#   docker build -t dorfman-gpu --build-arg ONNXRUNTIME=onnxruntime-gpu \
#     --build-arg BASE=docker.io/nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 .
# This image is for `model.provider: cuda`. `tensorrt` needs a base that also has TensorRT's
# libraries (libnvinfer, libnvonnxparser). `make image` builds the image without a daemon and runs
# the demo in it.
#
# BUILD must have Rust, apt, and a glibc that is not newer than that of BASE (2.36 in the default
# BASE). BASE must have glibc and libstdc++. BASE needs no shell and no package manager.
ARG BUILD=docker.io/library/rust:1-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM $BUILD AS build
# librdkafka links against OpenSSL. libjpeg-turbo and libavif are built with CMake, dav1d with Meson and
# Ninja, and both use NASM. pip downloads the wheel with ONNX Runtime.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates cmake libssl-dev meson nasm ninja-build \
        pkg-config python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ARG ONNXRUNTIME=onnxruntime
# This runs before the sources are copied, so that a change of the sources downloads nothing again.
COPY scripts/setup.sh scripts/
RUN scripts/setup.sh "$ONNXRUNTIME"
COPY . .
# OpenSSL is linked statically: some bases have no OpenSSL, and others have a different version.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    export OPENSSL_STATIC=1 OPENSSL_INCLUDE_DIR=/usr/include OPENSSL_LIB_DIR="/usr/lib/$(gcc -print-multiarch)" \
    && cargo build --release --locked --bin dorfman \
    && install -D --strip target/release/dorfman /out/dorfman

FROM $BASE
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/.dorfman/onnxruntime/lib/ /usr/local/lib/
COPY --from=build /src/.dorfman/onnxruntime/LICENSE /src/.dorfman/onnxruntime/ThirdPartyNotices.txt /usr/share/doc/onnxruntime/
COPY LICENSE NOTICE /usr/share/doc/dorfman/
COPY models /models
COPY --from=build /out/dorfman /usr/local/bin/
# Set explicitly, because OpenSSL's default path depends on how it was built.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    DORFMAN_CONFIG=/etc/dorfman/dorfman.yaml
# A numeric user, because Kubernetes' runAsNonRoot cannot check a user name.
USER 65532:65532
WORKDIR /
# Health and metrics.
EXPOSE 9464
# For Docker; Kubernetes has its own probes. The start period is long because warming up a large
# network can take long.
HEALTHCHECK --interval=10s --timeout=5s --start-period=1800s --retries=3 CMD ["/usr/local/bin/dorfman", "health"]
ENTRYPOINT ["/usr/local/bin/dorfman"]
CMD ["run"]
