# smi: the words every developer and the CI use. `make help` lists them.
#
# What a target fetches comes through the ordinary clients (go, npm, apt-get)
# and is kept under .cache/, which git ignores.

SHELL       := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE ?= $(CURDIR)/.cache
BIN   ?= bin/smi

# The tools, by version. They are built once into .cache/tools and are no part
# of go.mod.
GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(CACHE)/tools/golangci-lint-$(GOLANGCI_VERSION)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# For example: make test TESTFLAGS='-run TestDecide -count=3' PKGS=./scheduler
TESTFLAGS ?=
PKGS      ?= ./...
# How long each fuzz target runs.
FUZZTIME  ?= 20s
# How many stories simulate tells, and from which seed on.
SEEDS     ?= 20000
SEED_FROM ?= 1
# How much work the benches do: see bench. LOADFLAGS=-quick is enough for a look.
BENCHFLAGS ?=
LOADFLAGS  ?=

# Parts of the proof: make prove PROVEFLAGS='-only disk,kills'
PROVEFLAGS ?=

# How many scenarios make cluster plays, and from which seed (0: any).
SCENARIOS ?= 60
SEED      ?= 0

# A test run through testsummary: failures in full, one line in the end, and a
# skip that .ci/skips.txt does not list is a failure.
TESTSUMMARY = go run ./internal/testsummary -skips .ci/skips.txt

.PHONY: help
help: ## show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build and run the daemon beside a simulated network, with demo accounts and posts
	./$(BIN) serve --demo

.PHONY: build
build: ## build bin/smi (no C compiler needed)
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/smi

.PHONY: test
test: ## run all tests but the ones against real servers (no C compiler needed)
	CGO_ENABLED=0 go test -timeout 25m -json $(TESTFLAGS) $(PKGS) | $(TESTSUMMARY)

.PHONY: race
race: ## run the tests under the race detector (needs gcc), but the stories and the model, which use one processor
	@command -v $${CC:-gcc} >/dev/null || { echo "make race needs a C compiler: install gcc (Debian: apt-get install gcc libc6-dev)." >&2; exit 1; }
	CGO_ENABLED=1 go test -race -short -timeout 40m -json $(TESTFLAGS) $$(go list $(PKGS) | grep -vxE 'smi/(internal/simulate|scheduler/model)') | $(TESTSUMMARY)

.PHONY: conformance
conformance: ## run the suite that every connector passes, on each of them; prints the table
	@mkdir -p $(CACHE) && rm -f $(CACHE)/conformance.jsonl
	CGO_ENABLED=0 SMI_CONFORMANCE_TABLE=$(CACHE)/conformance.jsonl go test -count=1 -json $(TESTFLAGS) ./connectors/... | $(TESTSUMMARY)
	@CGO_ENABLED=0 go run ./connectors/connectortest/table $(CACHE)/conformance.jsonl

.PHONY: simulate
simulate: ## tell SEEDS stories of faults and crashes, from SEED_FROM on, and judge each by its networks
	CGO_ENABLED=0 go test -count=1 -timeout 2h -v -run 'TestSeeds|TestCells' $(TESTFLAGS) ./internal/simulate -every 1 -pg-every 29 -seeds $(SEEDS) -seed-from $(SEED_FROM)

.PHONY: e2e
e2e: ## drive the built command on simulated networks, and kill it where that could do harm
	CGO_ENABLED=0 go test -tags e2e -count=1 -timeout 15m -json $(TESTFLAGS) ./cmd/... | $(TESTSUMMARY)
	CGO_ENABLED=0 go test -tags e2e -count=1 -timeout 15m -parallel 4 -json $(TESTFLAGS) ./internal/e2e | $(TESTSUMMARY) -v

.PHONY: prove
prove: ## the long proof: nothing published twice, nothing lost, nothing false (up to 45 minutes); one line in the end
	go run ./internal/prove $(PROVEFLAGS)

.PHONY: prove-short
prove-short: ## a share of the proof, in at most ten minutes
	go run ./internal/prove -short $(PROVEFLAGS)

.PHONY: cluster
cluster: ## three daemons on three machines (network namespaces) with one PostgreSQL, all of which fail (needs root)
	CGO_ENABLED=0 go test -tags e2e,cluster -count=1 -timeout 30m -parallel 16 -json -run 'TestCluster|TestLAN|TestDatabaseOnAMachine' $(TESTFLAGS) ./internal/e2e -clusters 8 -scenarios $(SCENARIOS) -seed $(SEED) | $(TESTSUMMARY) -v

.PHONY: test-real
test-real: ## run against the real Bluesky server software, and the simulators under clients of others (installs them: Node, PostgreSQL, Redis, Python)
	CGO_ENABLED=0 go test -tags real -count=1 -timeout 30m -json -run 'Real' $(TESTFLAGS) ./internal/realservers/... ./connectors/... | $(TESTSUMMARY) -v

.PHONY: bench
bench: ## measure lateness, throughput and memory; prints tables (some six minutes)
	CGO_ENABLED=0 go run ./internal/loadtest $(LOADFLAGS)
	CGO_ENABLED=0 go test -run '^$$' -bench . -benchtime 1s $(BENCHFLAGS) ./store/... ./scheduler/... ./connectors/... ./internal/...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME
	@for pkg in $$(go list $(PKGS)); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

.PHONY: lint
lint: $(GOLANGCI) ## check style, layers and known mistakes
	$(GOLANGCI) run

.PHONY: fmt
fmt: $(GOLANGCI) ## format the Go files
	$(GOLANGCI) fmt

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION), once (about two minutes)"
	@mkdir -p $(CACHE)/tools
	GOBIN=$(CACHE)/tools CGO_ENABLED=0 GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(CACHE)/tools/golangci-lint $@

.PHONY: generate
generate: ## write the generated files anew
	CGO_ENABLED=0 go run ./config/gen
	CGO_ENABLED=0 go run ./connectors/all/gen
	CGO_ENABLED=0 go generate ./...

.PHONY: verify
verify: ## check that generated files are up to date and modules are what go.sum says
	@.ci/verify

.PHONY: cover
cover: ## run the tests and show what they cover
	@mkdir -p $(CACHE)
	CGO_ENABLED=0 go test -coverpkg=./... -coverprofile=$(CACHE)/cover.out $(TESTFLAGS) $(PKGS)
	go tool cover -func=$(CACHE)/cover.out | tail -n 1
	go tool cover -html=$(CACHE)/cover.out -o $(CACHE)/cover.html
	@echo "see $(CACHE)/cover.html"
