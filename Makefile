# mooring: what people and CI run. "make help" lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X mooring/pkg/cli.version=$(VERSION)'
BIN := bin
TOOLS := $(CURDIR)/$(BIN)/tools
export LAB_DIR ?= /var/lib/mooring-lab
FUZZTIME ?= 20s
# the modules of this repository that have Go code, and the packages that have goldens
MODULES := . tests tests/e2e
GOLDENS = $(shell cd $(1) && grep -rl --include='*_test.go' 'goldentest.Compare' $(2) | xargs -n1 dirname | sort -u | sed 's|^|./|')
# what a test of the tests module needs
TESTENV := MOORING_BIN=$(CURDIR)/$(BIN)

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-24s %s\n", $$1, $$2}'

build: ## bin/mooring, static and stripped, and bin/openstack-sim
	$(GOBUILD) -o $(BIN)/mooring ./cmd/mooring
	$(GOBUILD) -o $(BIN)/openstack-sim ./cmd/openstack-sim

demo: build ## a first run of all three plugins against a simulated cloud: no root, no network
	cd tests && $(GOBUILD) -o ../$(BIN)/demo ./demo
	$(BIN)/demo -mooring $(BIN)/mooring -simulator $(BIN)/openstack-sim

test: build ## unit tests with the race detector, csi-sanity, the contract tests over the simulator, and the chart's
	CGO_ENABLED=1 go test -race -shuffle=on ./...
	cd tools && go test -shuffle=on ./ocitar ./sbom
	cd tests && $(TESTENV) CGO_ENABLED=1 go test -race -shuffle=on ./contract/... ./sanity/... ./kill/... ./demo/... ./house/... ./bench/...
	cd tests && $(TESTENV) go test -count=1 ./footprint/...   # alone, and without the race detector: it measures
	@if $(MAKE) --no-print-directory $(TOOLS)/helm; then $(MAKE) --no-print-directory chart; \
	elif [ -n "$$CI" ]; then echo "helm can't be built, and CI tests the chart"; exit 1; \
	else echo "helm can't be built here: the tests of the chart are SKIPPED"; fi

external-dns: $(BIN)/external-dns ## ExternalDNS's own program, for tests that run it (minutes)
$(BIN)/external-dns: tests/go.mod
	@if [ -x $(LAB_DIR)/cache/bin/external-dns ]; then cp $(LAB_DIR)/cache/bin/external-dns $@; else \
	  GOBIN=$(CURDIR)/$(BIN) CGO_ENABLED=0 GOFLAGS=-trimpath go install -ldflags '-s -w' sigs.k8s.io/external-dns@$$(sed -n 's|^\tsigs.k8s.io/external-dns ||p' tests/go.mod); fi

e2e-openstack: build external-dns ## the contract and end-to-end tests on a real OpenStack (root, Debian 12; started and stopped here)
	go -C tests test -count=1 -run '^$$' ./contract/... >/dev/null       # compiled out here: the lab has no network
	go -C tests/e2e test -count=1 -run '^$$' ./openstack/... >/dev/null
	tests/lab/lab openstack up
	@set -o pipefail; tested() { tests/lab/lab exec env $(TESTENV) GOPROXY=off MOORING_CONTRACT_CLOUDS=$(LAB_DIR)/openstack/clouds.yaml go -C $$1 test -count=1 -timeout 30m -p 1 -v $$2; }; \
	  { status=0; tested tests ./contract/... || status=1; tested tests/e2e ./openstack/... || status=1; exit $$status; } 2>&1 | \
	  tee $(BIN)/e2e-openstack.log | grep -E '^(ok|FAIL|panic:)|^ *--- (FAIL|SKIP)'; \
	  status=$$?; [ $$status = 0 ] || tail -n 200 $(BIN)/e2e-openstack.log; tests/lab/lab openstack down; exit $$status

e2e-kubernetes: image-tar $(TOOLS)/helm ## the chart on a real, empty Kubernetes with that OpenStack behind it (root, Debian 12; both are stopped at the end)
	@reason=$$(tests/lab/lab kubernetes possible) || { echo "e2e-kubernetes: SKIPPED, $$reason"; exit 0; }; \
	set -e -o pipefail; lab=tests/lab/lab; \
	go -C tests/e2e test -count=1 -run '^TestCustomResources$$' ./kubernetes/... >/dev/null; \
	$$lab kubernetes wipe; \
	trap '$$lab down' EXIT; \
	$$lab up; \
	$(MAKE) --no-print-directory image-fuse-tar; \
	$$lab kubernetes image $(BIN)/mooring.tar >/dev/null; \
	$$lab kubernetes image host $(BIN)/mooring-fuse.tar >/dev/null; \
	$(MAKE) --no-print-directory e2e-kubernetes-tests

# on a lab that stands, with the images that it has; E2E_RUN says which tests, E2E_FLAGS=-update writes their records
e2e-kubernetes-tests:
	@set -o pipefail; tests/lab/lab exec env $(TESTENV) GOPROXY=off MOORING_HELM=$(TOOLS)/helm MOORING_CONTRACT_CLOUDS=$(LAB_DIR)/openstack/clouds.yaml \
	  MOORING_E2E_KUBERNETES=$(LAB_DIR)/kubernetes/lab.json go -C tests/e2e test -count=1 -timeout 60m -parallel 6 -v $(if $(E2E_RUN),-run '$(E2E_RUN)') ./kubernetes/... $(E2E_FLAGS) 2>&1 | tee $(BIN)/e2e-kubernetes.log

conformance: ## the ExternalDNS suite against any webhook provider: WEBHOOK_URL=http://… WEBHOOK_ZONE=… [WEBHOOK_CHILD, _REVERSE, _TYPES, _DNS]
	@[ -n "$(WEBHOOK_URL)" ] && [ -n "$(WEBHOOK_ZONE)" ] || { echo 'usage: make conformance WEBHOOK_URL=http://localhost:8888 WEBHOOK_ZONE=example.com' >&2; exit 2; }
	cd tests/contract/designate && MOORING_WEBHOOK_URL='$(WEBHOOK_URL)' MOORING_WEBHOOK_ZONE='$(WEBHOOK_ZONE)' MOORING_WEBHOOK_CHILD='$(WEBHOOK_CHILD)' \
	  MOORING_WEBHOOK_REVERSE='$(WEBHOOK_REVERSE)' MOORING_WEBHOOK_TYPES='$(WEBHOOK_TYPES)' MOORING_WEBHOOK_DNS='$(WEBHOOK_DNS)' \
	  go test -count=1 -timeout 60m -run '^TestWebhookConformance$$' .

verify: $(TOOLS)/golangci-lint ## modules are tidy, code is formatted, what is generated is up to date, scripts pass shellcheck
	@set -e; for m in $(MODULES) tools; do echo "go mod tidy -diff: $$m"; (cd $$m && go mod tidy -diff); done
	@set -e; for m in $(MODULES) tools; do (cd $$m && $(TOOLS)/golangci-lint fmt --diff --config $(CURDIR)/.golangci.yml ./...); done
	go test $(call GOLDENS,.,pkg) -run Golden
	@if command -v shellcheck >/dev/null; then $(MAKE) --no-print-directory lab-lint; else echo "shellcheck is not installed: the lab's scripts are SKIPPED"; fi
	$(MAKE) --no-print-directory manifests-verify

lint: $(TOOLS)/golangci-lint ## golangci-lint over all modules
	@set -e; for m in $(MODULES) tools; do echo "lint $$m"; (cd $$m && $(TOOLS)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done

fmt: $(TOOLS)/golangci-lint ## format the code
	@set -e; for m in $(MODULES) tools; do (cd $$m && $(TOOLS)/golangci-lint fmt --config $(CURDIR)/.golangci.yml ./...); done

generate: ## write again what is generated from code: references, goldens, manifests
	go test $(call GOLDENS,.,pkg) -run Golden -update
	cd tests && go test ./house -run Golden -update
	$(MAKE) --no-print-directory manifests

fuzz: ## run every fuzz target for FUZZTIME
	@set -e; for t in $$(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' pkg | sed 's|/[^/]*:func |:|' | sort -u); do \
	  echo "fuzz ./$$t"; go test "./$${t%:*}" -run '^$$' -fuzz "^$${t#*:}\$$" -fuzztime $(FUZZTIME); done

bench: build ## measure what is promised (calls, times, memory): a table, and bench.jsonl; fails beyond a limit
	cd tests && $(GOBUILD) -o ../$(BIN)/bench ./bench
	$(BIN)/bench -mooring $(BIN)/mooring -out bench.jsonl

bench-scan: build ## measure "keys scan" on a million objects in a real etcd (minutes, 2 GB of disk)
	cd tests && $(GOBUILD) -o ../$(BIN)/bench ./bench
	$(BIN)/bench -mooring $(BIN)/mooring -only scan -out bench-scan.jsonl

bench-go: ## run the micro-benchmarks of the packages
	go test -run '^$$' -bench . -benchmem ./pkg/...

vuln: $(TOOLS)/govulncheck ## govulncheck over what is shipped; skipped where its database can't be reached (GOVULNDB names another)
	@out=$$($(TOOLS)/govulncheck $(if $(GOVULNDB),-db $(GOVULNDB)) ./cmd/mooring 2>&1); status=$$?; echo "$$out"; \
	if [ $$status = 1 ] && grep -q 'fetching vulnerabilities' <<<"$$out"; then echo "govulncheck: SKIPPED, its database can't be reached from here"; exit 0; fi; exit $$status

# our own tools
$(TOOLS)/ocitar $(TOOLS)/sbom: $(TOOLS)/%: $(wildcard tools/*/*.go) tools/go.mod
	cd tools && $(GOBUILD) -o $@ ./$*

$(TOOLS)/%: tools/go.mod
	@mkdir -p $(TOOLS)
	cd tools && go build -o $(TOOLS)/$* $$(go list -f '{{.ImportPath}}' tool | grep '/$*$$')

clean: ## remove what was built
	rm -rf $(BIN)

.PHONY: help build demo test e2e-openstack e2e-kubernetes e2e-kubernetes-tests conformance external-dns verify lint fmt generate fuzz bench bench-scan bench-go vuln clean
include image.mk
include tests/lab/lab.mk
include charts/chart.mk
