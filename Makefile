# The entry point. `make` lists the targets.
#
# Requires cargo (https://rustup.rs), a C compiler, and Go for the first build of the programs that tests use.

CARGO ?= cargo
# Tests, generators and the programs for tests share one build (`lint` also checks the program without the features for tests). The build
# includes a test, which enables the features for tests. Without it, cargo compiles 40 crates, the operator and testenv's programs again.
PROGRAMS = $(CARGO) build --locked --workspace --features apicred/otel --bin apicred --bin testenv --bin chart --test architecture
BUILT = $(shell $(CARGO) metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
# Versions of the tools that `audit` and `sbom` install in target/tools, and nowhere else.
CARGO_DENY ?= 0.20.2
CYCLONEDX ?= 0.5.9
TOOLS := target/tools/bin
FUZZ ?= $(notdir $(wildcard fuzz/seeds/*))
FUZZ_SECONDS ?= 60
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# The flags that cargo-fuzz passes for libFuzzer, without a sanitizer. They work with stable Rust, and nothing must be installed.
COVERAGE := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
# `required`: `make audit` fails if the advisory database cannot be fetched.
ADVISORIES ?= if-reachable
IMAGE ?= ghcr.io/apicred/apicred:dev
# The architectures that `image-oci` builds for: amd64, arm64 or both ("amd64 arm64").
IMAGE_ARCH ?= $(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
image_machine = $(if $(filter arm64,$(1)),aarch64,x86_64)
image_target = $(call image_machine,$(1))-unknown-linux-musl
image_program = $(or $(CARGO_TARGET_DIR),target)/$(call image_target,$(1))/release/apicred
space := $(subst ,, )
IMAGE_FILE = target/image/apicred-$(subst $(space),-,$(sort $(IMAGE_ARCH))).tar
# The commit in the image: label revision of the metric apicred_build_info, and of the image.
REVISION ?= $(shell git rev-parse HEAD 2> /dev/null || echo unknown)
CARGO_HOME ?= $(HOME)/.cargo
RIVALS := target/rival/external-secrets target/rival/external-secrets-20-workers
# Short messages of cargo; the steps below print what they do.
export CARGO_TERM_PROGRESS_WHEN ?= auto

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## run the operator with a real Kubernetes API server, in minutes (KEEP=1 keeps it running, CLUSTER=current uses your cluster)
	@echo "demo: building the operator, the issuer and the demo (a first build takes some minutes)"
	@$(CARGO) build --locked -p apicred -p dev-issuer -p testenv --bins
	@exec $(CARGO) run --quiet --locked -p testenv --bin demo

test: ## run all tests, with a real control plane
	$(PROGRAMS)
	$(BUILT)/testenv build
	@# A test that fails must not hide others.
	$(CARGO) test --workspace --locked --features apicred/otel --no-fail-fast

properties: ## run the property tests with many new cases (PROPTEST_CASES=20000 in core, 2000 in the operator)
	PROPTEST_CASES=$${PROPTEST_CASES:-20000} $(CARGO) test --locked -p apicred-core --lib
	PROPTEST_CASES=$${PROPTEST_CASES:-2000} $(CARGO) test --locked -p apicred --lib

chaos: ## kill, stop and edit at random, for CHAOS_SECONDS=300 (CHAOS_CREDENTIALS=100 CHAOS_REPLICAS=2 CHAOS_SEED=…)
	$(PROGRAMS)
	$(BUILT)/testenv build
	$(CARGO) test --workspace --locked --features apicred/otel --test chaos

lint: ## check format, clippy, chart, and that the generated files are up to date
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features apicred/otel --locked -- -D warnings
	@# The release build has none of these features.
	$(CARGO) clippy -p apicred --lib --bins --locked -- -D warnings
	$(CARGO) clippy --workspace --test chaos --features apicred/otel --locked -- -D warnings
	@# Only this package, with only its own features: no Kubernetes client, no HTTP client, no runtime.
	$(CARGO) clippy -p apicred-core --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc -p apicred-core -p apicred --lib --no-deps --locked
	$(PROGRAMS)
	$(BUILT)/testenv run -- helm lint --strict charts/apicred
	@new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && $(BUILT)/apicred crds --dir "$$new" \
	  && diff -r "$$new" crds && diff -r "$$new" charts/apicred/files/crds \
	  || { echo "lint: the CRDs do not fit core/src/api; run 'make crds' and commit what it changes" >&2; exit 1; }
	@$(BUILT)/apicred metrics-reference | diff - docs/metrics.md \
	  || { echo "lint: docs/metrics.md does not fit src/telemetry/metrics/table.rs; run 'make metrics' and commit what it changes" >&2; exit 1; }
	$(BUILT)/chart docs --check
	$(BUILT)/chart manifests --check

crds: ## generate crds/ and its copies in charts/ and deploy/ from core/src/api
	$(PROGRAMS)
	$(BUILT)/apicred crds --dir crds
	cp crds/*.yaml charts/apicred/files/crds/
	cp crds/*.yaml deploy/kustomize/crds/
	$(BUILT)/chart docs

chart-docs: ## generate the table of values in the chart's README.md, and what repeats values.yaml
	$(PROGRAMS)
	$(BUILT)/chart docs

manifests: ## generate deploy/kustomize/ and dist/ from the chart, for clusters without helm
	$(PROGRAMS)
	$(BUILT)/chart manifests

metrics: ## generate docs/metrics.md from the table of metrics
	$(PROGRAMS)
	$(BUILT)/apicred metrics-reference > docs/metrics.md

cluster: ## run a control plane, until Ctrl-C
	@echo "# Install the CRDs of apicred: kubectl apply --server-side -f crds/"
	@exec $(CARGO) run --quiet --locked -p testenv --bin testenv -- up

bench: ## measure speed, memory and requests under load, in minutes (ARGS=--full for 10,000 credentials)
	$(CARGO) run --locked -p testenv --bin testenv -- build
	$(CARGO) bench --locked --bench load -- $(ARGS)

bench-rival: ## run the same load with External Secrets, built from the Go module proxy; not in CI
	sh benches/load/external-secrets/build target/rival
	$(MAKE) bench ARGS="--scenario cold,restart,rotation --life 240 $(RIVALS:%=--rival %) $(ARGS)"

plugin: ## install kubectl-apicred, for `kubectl apicred login`
	$(CARGO) install --locked --path . --bin kubectl-apicred

fmt: ## format the code
	$(CARGO) fmt --all

fips: ## check that the program compiles with the FIPS module of AWS-LC; needs cmake, Go and perl; not in CI
	@for program in cmake go perl; do command -v $$program > /dev/null \
	  || { echo "fips: $$program is not on PATH: the FIPS module of AWS-LC is built with cmake, Go and perl" >&2; exit 1; }; done
	$(CARGO) check --locked -p apicred --features fips

audit: ## check licences, sources, banned crates and known vulnerabilities of all dependencies
	@# Without optimization: it runs only for seconds, and its compilation takes minutes less.
	@[ -x $(TOOLS)/cargo-deny ] \
	  || CARGO_PROFILE_DEV_DEBUG=false $(CARGO) install --debug --locked cargo-deny --version $(CARGO_DENY) --root target/tools
	$(TOOLS)/cargo-deny --all-features check licenses bans sources
	@if $(TOOLS)/cargo-deny fetch db; then $(TOOLS)/cargo-deny --all-features check advisories; else \
	  echo "audit: KNOWN VULNERABILITIES WERE NOT CHECKED: the advisory database (github.com/rustsec/advisory-db) cannot be fetched here." >&2; \
	  [ "$(ADVISORIES)" != required ]; fi

sbom: ## write the bill of materials, as CycloneDX JSON in target/sbom/
	@[ -x $(TOOLS)/cargo-cyclonedx ] \
	  || $(CARGO) install --locked cargo-cyclonedx --version $(CYCLONEDX) --root target/tools
	@mkdir -p target/sbom
	$(TOOLS)/cargo-cyclonedx cyclonedx --manifest-path Cargo.toml --format json --spec-version 1.5 \
	  --target x86_64-unknown-linux-musl --override-filename apicred-sbom
	@# The file must not contain the path of the sources on this machine.
	@sed 's|path+file://$(CURDIR)|path+file:///src|g' apicred-sbom.json > target/sbom/apicred-sbom.json \
	  && rm -f apicred-sbom.json core/apicred-sbom.json dev-issuer/apicred-sbom.json testenv/apicred-sbom.json
	@echo "sbom: target/sbom/apicred-sbom.json"

fuzz: ## fuzz each parser for FUZZ_SECONDS=60 (FUZZ=keys: only this one)
	@command -v c++ > /dev/null || { echo "fuzz: libFuzzer needs a C++ compiler (apt-get install g++)" >&2; exit 1; }
	RUSTFLAGS="$(COVERAGE)" $(CARGO) build --release --locked --manifest-path fuzz/Cargo.toml --target $(HOST) --target-dir target/fuzz
	@for one in $(FUZZ); do \
	  mkdir -p fuzz/corpus/$$one fuzz/artifacts/$$one && echo "fuzz: $$one for $(FUZZ_SECONDS) s" \
	  && target/fuzz/$(HOST)/release/$$one -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
	       -print_final_stats=1 -verbosity=0 -artifact_prefix=fuzz/artifacts/$$one/ fuzz/corpus/$$one fuzz/seeds/$$one || exit 1; \
	done

image: ## build the container image (IMAGE=…), with docker or podman (RUST_IMAGE=…@sha256:… sets another base)
	@engine=$$(command -v docker || command -v podman) \
	  || { echo "image: neither docker nor podman is on PATH" >&2; exit 1; }; \
	DOCKER_BUILDKIT=1 "$$engine" build --build-arg REVISION=$(REVISION) $(if $(RUST_IMAGE),--build-arg RUST_IMAGE=$(RUST_IMAGE)) \
	  $(if $(IMAGE_FEATURES),--build-arg CARGO_FEATURES="$(IMAGE_FEATURES)") -t $(IMAGE) .

image-oci: $(IMAGE_ARCH:%=image-program-%)
image-oci: ## assemble the image without a container engine, in target/image/ (IMAGE=… names it, PUSH=1 pushes it, IMAGE_ARCH="amd64 arm64")
	@mkdir -p target/image
	@$(CARGO) run --quiet --locked -p testenv --bin testenv -- image -- -licence LICENSE \
	  -version "$$($(CARGO) pkgid -p apicred | sed 's/.*[#@]//')" -revision "$(REVISION)" \
	  -epoch "$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}" -name $(IMAGE) -out $(IMAGE_FILE) $(if $(PUSH),-push $(IMAGE)) \
	  $(foreach arch,$(sort $(IMAGE_ARCH)),linux/$(arch)=$(call image_program,$(arch)))
	@echo "image-oci: $(IMAGE_FILE) is an OCI image layout of $(IMAGE); docker load, podman load, ctr and kind take it"

# The program of one architecture.
image-program-%:
	@[ -n "$(filter amd64 arm64,$*)" ] || { echo "image-oci: no image is built for $*: choose IMAGE_ARCH=amd64, arm64 or \"amd64 arm64\"" >&2; exit 1; }
	@command -v $(call image_machine,$*)-linux-musl-gcc > /dev/null \
	  || { echo "image-oci: $(call image_machine,$*)-linux-musl-gcc is not on PATH (Debian: apt-get install musl-dev:$*)" >&2; exit 1; }
	@[ -d "$$(rustc --print target-libdir --target $(call image_target,$*))" ] \
	  || { echo "image-oci: Rust has no standard library for $(call image_target,$*): rustup target add $(call image_target,$*)" >&2; exit 1; }
	@# The program must not contain paths of the build machine. jemalloc on arm64: as in the Dockerfile.
	APICRED_REVISION=$(REVISION) \
	RUSTFLAGS="--remap-path-prefix=$(CURDIR)=/src --remap-path-prefix=$(CARGO_HOME)=/cargo$(if $(CARGO_TARGET_DIR), --remap-path-prefix=$(CARGO_TARGET_DIR)=/src/target)" \
	CARGO_TARGET_$(subst -,_,$(shell echo $(call image_target,$*) | tr a-z A-Z))_LINKER=$(call image_machine,$*)-linux-gnu-gcc \
	$(if $(filter arm64,$*),JEMALLOC_SYS_WITH_LG_PAGE=16) \
	$(CARGO) build --release --locked --target $(call image_target,$*) -p apicred --bin apicred $(IMAGE_FEATURES)

image-test: image-oci ## run the operator of that image in its own root, against a control plane
	APICRED_TEST_IMAGE=$(CURDIR)/$(IMAGE_FILE) \
	  $(CARGO) test --locked -p apicred --features otel --test cluster -- the_operator_needs_nothing_that_its_image_lacks

.PHONY: help demo test properties chaos lint fips audit sbom fuzz crds chart-docs manifests metrics cluster bench bench-rival plugin fmt image image-oci image-test
