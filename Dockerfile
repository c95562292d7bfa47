# The worker, ONNX Runtime and the bundle that ships, for the CPU:
#   docker build -t dorfman .
# or for NVIDIA's GPUs (x86_64), on an image that has CUDA 13 and cuDNN 9:
#   docker build -t dorfman-gpu --build-arg ONNXRUNTIME=onnxruntime-gpu \
#     --build-arg BASE=docker.io/nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 .
# That is for `model.provider: cuda`; `tensorrt` needs a base that has TensorRT's libraries as well (libnvinfer, libnvonnxparser).
# `make image` builds it without a daemon, runs it and shows what it found.
#
# BUILD must have Rust, apt and glibc 2.36 or older than BASE's. BASE must have glibc and libstdc++, and needs neither shell nor package manager.
ARG BUILD=docker.io/library/rust:1-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM $BUILD AS build
# librdkafka links against OpenSSL, and pip brings ONNX Runtime's wheel.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl-dev pkg-config python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ARG ONNXRUNTIME=onnxruntime
# Before the sources, so that a change of them fetches nothing anew.
COPY scripts/setup.sh scripts/
RUN scripts/setup.sh "$ONNXRUNTIME"
COPY . .
# OpenSSL goes into the binary, since bases differ in whether they have it, and in which.
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
# Where OpenSSL would look by itself depends on who built it.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    DORFMAN_CONFIG=/etc/dorfman/dorfman.yaml
# A number, since Kubernetes' runAsNonRoot can't judge a name.
USER 65532:65532
WORKDIR /
# Health and metrics.
EXPOSE 9464
# Kubernetes asks for itself; this is for Docker. The start is long where a large network is warmed up.
HEALTHCHECK --interval=10s --timeout=5s --start-period=1800s --retries=3 CMD ["/usr/local/bin/dorfman", "health"]
ENTRYPOINT ["/usr/local/bin/dorfman"]
CMD ["run"]
