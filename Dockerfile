# The worker, ONNX Runtime and the bundle that ships, for the CPU:
#   docker build -t dorfman .
# or for NVIDIA's GPUs (x86_64), on an image that has CUDA 13 and cuDNN 9:
#   docker build -t dorfman-gpu --build-arg ONNXRUNTIME=onnxruntime-gpu \
#     --build-arg BASE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 .
ARG BASE=debian:bookworm-slim

FROM rust:1-bookworm AS build
# librdkafka links against OpenSSL, and pip brings ONNX Runtime's wheel.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev pkg-config python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ARG ONNXRUNTIME=onnxruntime
# Before the sources, so that a change of them fetches nothing anew.
COPY scripts/setup.sh scripts/
RUN scripts/setup.sh "$ONNXRUNTIME"
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin dorfman \
    && install -D --strip target/release/dorfman /out/dorfman

FROM $BASE
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/.dorfman/onnxruntime/lib/ /usr/local/lib/
COPY --from=build /src/.dorfman/onnxruntime/LICENSE /src/.dorfman/onnxruntime/ThirdPartyNotices.txt /usr/share/doc/onnxruntime/
COPY LICENSE NOTICE /usr/share/doc/dorfman/
COPY models /models
COPY --from=build /out/dorfman /usr/local/bin/
# A number, since Kubernetes' runAsNonRoot can't judge a name.
USER 65532:65532
# Health and metrics.
EXPOSE 9464
ENTRYPOINT ["dorfman"]
CMD ["run", "--config", "/etc/dorfman/dorfman.yaml"]
