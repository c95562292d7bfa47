# The worker with ONNX Runtime for the CPU and the bundle that ships:
#   docker build -t dorfman .

FROM rust:1-bookworm AS build
# librdkafka links against OpenSSL, and pip brings ONNX Runtime's wheel.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev pkg-config python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Before the sources, so that a change of them fetches nothing anew.
COPY scripts/setup.sh scripts/
RUN scripts/setup.sh onnxruntime
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin dorfman \
    && install -D --strip target/release/dorfman /out/dorfman

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/.dorfman/onnxruntime/lib/libonnxruntime.so /usr/local/lib/
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
