# Targets of the image; to be included by the Makefile.
IMAGE ?= docker.io/mooring/mooring:$(shell sed -n 's/^appVersion: *//p' charts/mooring/Chart.yaml)
CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.PHONY: image image-tar image-fuse-tar

# Newer versions of podman and buildah read SOURCE_DATE_EPOCH themselves, and refuse --timestamp beside it.
image: ## the images with docker, podman or buildah, whichever works here; without any, bin/mooring.tar
	@for engine in docker podman buildah; do \
	  if $$engine info >/dev/null 2>&1; then \
	    same=; [ $$engine = docker ] || same="--layers --timestamp $(SOURCE_DATE_EPOCH)"; \
	    for target in static fuse; do \
	      env -u SOURCE_DATE_EPOCH $$engine build $$same --target $$target --build-arg VERSION=$(VERSION) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
	        --tag $(IMAGE)$$([ $$target = static ] || echo -$$target) . || exit; \
	    done; \
	    exit 0; \
	  fi; \
	done; \
	echo "no docker, podman or buildah works here: $(BIN)/mooring.tar is for one that does (docker load, podman load, ctr images import)"; \
	$(MAKE) --no-print-directory image-tar

# What is in an image stands in it, as CycloneDX, and beside the tar.
SBOM = $(TOOLS)/sbom -modcache "$$(go env GOMODCACHE)" -version $(VERSION) -epoch $(SOURCE_DATE_EPOCH)

image-tar: build $(TOOLS)/ocitar $(TOOLS)/sbom ## bin/mooring.tar: the static image as an OCI archive, without docker and its like, and bin/mooring.cdx.json, its SBOM; the same bytes every time
	umask 022; rm -rf $(BIN)/image && install -D -m 0755 $(BIN)/mooring $(BIN)/image/mooring
	umask 022; install -D -m 0644 $(CERTIFICATES) $(BIN)/image/etc/ssl/certs/ca-certificates.crt
	$(SBOM) -out $(BIN)/image/mooring.cdx.json $(BIN)/mooring
	cp $(BIN)/image/mooring.cdx.json $(BIN)/mooring.cdx.json
	$(TOOLS)/ocitar -out $(BIN)/mooring.tar -name $(IMAGE) -epoch $(SOURCE_DATE_EPOCH) -user 65532:65532 -entrypoint /mooring $(BIN)/image

# The real one is the Dockerfile's, on Debian; this has the same programs from the machine it is made on.
image-fuse-tar: build $(TOOLS)/ocitar $(TOOLS)/sbom
	umask 022; rm -rf $(BIN)/image-fuse && install -D -m 0755 $(BIN)/mooring $(BIN)/image-fuse/mooring
	tests/lab/kubernetes/fuse-tree $(BIN)/image-fuse >$(BIN)/image-fuse.packages
	$(SBOM) -packages $(BIN)/image-fuse.packages -out $(BIN)/image-fuse/mooring.cdx.json $(BIN)/mooring
	cp $(BIN)/image-fuse/mooring.cdx.json $(BIN)/mooring-fuse.cdx.json
	$(TOOLS)/ocitar -out $(BIN)/mooring-fuse.tar -name $(IMAGE)-fuse -epoch $(SOURCE_DATE_EPOCH) -user 65532:65532 -entrypoint /mooring $(BIN)/image-fuse
