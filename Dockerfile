# The image of the operator: one static binary, the roots of public CAs, the licence. No shell, no libc, no user
# database. Built with musl, because a static glibc still loads its name-service modules at run time, and an image
# without files has none. `make image-oci` assembles the same image without a container engine.
#
# The digest pins the base: it is that of the index of all platforms. docs/development.md describes how to update it.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1

# On the platform of the builder, whatever the platform of the image: a cross compiler takes minutes, and an emulator takes hours.
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
ARG TARGETARCH
# aws-lc-sys and jemalloc are C. musl-dev of the target's architecture contains the compiler for it (MACHINE-linux-musl-gcc),
# which their builds find by its name. No cmake is needed.
RUN set -eu; \
    case "$TARGETARCH" in \
      amd64) machine=x86_64 ;; \
      arm64) machine=aarch64 ;; \
      *) echo "no image is built for $TARGETARCH: choose linux/amd64 or linux/arm64" >&2; exit 1 ;; \
    esac; \
    echo "$machine-unknown-linux-musl" > /target; \
    dpkg --add-architecture "$TARGETARCH"; \
    apt-get update; \
    apt-get install -y --no-install-recommends "musl-dev:$TARGETARCH" ca-certificates; \
    rm -rf /var/lib/apt/lists/*; \
    rustup target add "$(cat /target)"
WORKDIR /src
COPY . .
# The commit, for the metric apicred_build_info. `make image` sets it: the build has no .git.
ARG REVISION=unknown
# Features of the program, as `--features otel`.
ARG CARGO_FEATURES=
# The caches make a second build short; the binary is copied out of them. The compiler is also the linker. jemalloc is built for one page
# size, and runs on kernels with pages of this size or smaller. Kernels on arm64 have pages of 4, 16 or 64 KiB, and 64 KiB is 2^16.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=apicred-target-$TARGETARCH \
    set -eu; target="$(cat /target)"; \
    export APICRED_REVISION="$REVISION"; \
    if [ "$TARGETARCH" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi; \
    export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=${target%%-*}-linux-gnu-gcc"; \
    cargo build --release --locked --target "$target" -p apicred --bin apicred $CARGO_FEATURES; \
    cp "target/$target/release/apicred" /apicred

FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="apicred" \
      org.opencontainers.image.description="Keeps OAuth 2.0 access tokens fresh in Kubernetes Secrets" \
      org.opencontainers.image.source="https://github.com/apicred/apicred" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /LICENSE
COPY --from=build /apicred /apicred
# By number: the kubelet checks runAsNonRoot without a user database.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/apicred"]
CMD ["run"]
