# The image of the operator: one static binary, the roots of public CAs, the licence. No shell, no libc, no user
# database. Built with musl, because a static glibc still loads its name-service modules at run time, and an image
# without files has none.
FROM docker.io/library/rust:1.95-bookworm AS build
# aws-lc-sys compiles C, and musl-tools brings the compiler wrapper for it. No cmake is needed.
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /src
COPY . .
# The caches make a second build short; the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=apicred-target \
    cargo build --release --locked --target "$(uname -m)-unknown-linux-musl" -p apicred --bin apicred \
 && cp "target/$(uname -m)-unknown-linux-musl/release/apicred" /apicred

FROM scratch
LABEL org.opencontainers.image.title="apicred" \
      org.opencontainers.image.description="Keeps OAuth 2.0 access tokens fresh in Kubernetes Secrets" \
      org.opencontainers.image.source="https://github.com/apicred/apicred" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /LICENSE
COPY --from=build /apicred /apicred
# By number: the kubelet checks runAsNonRoot without a user database.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/apicred"]
CMD ["run"]
