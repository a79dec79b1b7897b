# mooring: what people and CI run. "make help" lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X mooring/pkg/cli.version=$(VERSION)'
BIN := bin
TOOLS := $(CURDIR)/$(BIN)/tools
MODULES := . tests

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-24s %s\n", $$1, $$2}'

build: ## bin/mooring, static and stripped, and bin/openstack-sim
	$(GOBUILD) -o $(BIN)/mooring ./cmd/mooring
	$(GOBUILD) -o $(BIN)/openstack-sim ./cmd/openstack-sim

demo: build ## a first run of all three plugins against a simulated cloud: no root, no network
	cd tests && $(GOBUILD) -o ../$(BIN)/demo ./demo
	$(BIN)/demo -mooring $(BIN)/mooring -simulator $(BIN)/openstack-sim

test: build ## unit tests with the race detector, csi-sanity and the contract tests over the simulator
	CGO_ENABLED=1 go test -race -shuffle=on ./...
	cd tests && MOORING_BIN=$(CURDIR)/$(BIN) CGO_ENABLED=1 go test -race -shuffle=on ./contract/... ./sanity/... ./demo/... ./house/...

lint: $(TOOLS)/golangci-lint ## golangci-lint over all modules
	@set -e; for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(TOOLS)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done

fmt: $(TOOLS)/golangci-lint ## format the code
	@set -e; for m in $(MODULES); do (cd $$m && $(TOOLS)/golangci-lint fmt --config $(CURDIR)/.golangci.yml ./...); done

generate: ## write again what is generated from code: references, goldens
	go test ./pkg/... -run Golden -update
	cd tests && go test ./house/... -run Golden -update

$(TOOLS)/%: tools/go.mod
	@mkdir -p $(TOOLS)
	cd tools && go build -o $(TOOLS)/$* $$(go list -f '{{.ImportPath}}' tool | grep '/$*$$')

clean: ## remove what was built
	rm -rf $(BIN)

.PHONY: help build demo test lint fmt generate clean
include tests/lab/lab.mk
