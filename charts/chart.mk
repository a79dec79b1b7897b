# Targets of the chart and of what is rendered from it; to be included by the Makefile at the top.
CHART_ENV = MOORING_HELM=$(TOOLS)/helm MOORING_PROMTOOL=$(shell command -v promtool) MOORING_BIN=$(CURDIR)/$(BIN)
CHART_VALUES := $(wildcard manifests/values/*.yaml)

.PHONY: chart manifests manifests-verify

chart: image-tar $(TOOLS)/helm ## lint the chart; test what it renders, manifests/, the image and the Dockerfile
	@set -e; for v in $(CHART_VALUES); do $(TOOLS)/helm lint --strict --quiet charts/mooring --values $$v; done
	cd tests && $(CHART_ENV) go test -count=1 -shuffle=on ./chart/...  # helm reads the chart, so go can not know whether it changed

manifests: build $(TOOLS)/helm ## render manifests/ from the chart again
	cd tests && $(CHART_ENV) go test -count=1 ./chart -run TestGolden -update

manifests-verify: build $(TOOLS)/helm
	cd tests && $(CHART_ENV) go test -count=1 ./chart -run TestGolden
