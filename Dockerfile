# docker build .                  a static binary and the CA certificates, nothing else
# docker build --target fuse .    with ceph-fuse, for nodes whose kernel has no ceph client
#
# With SOURCE_DATE_EPOCH and VERSION given as build arguments the binary has the same bytes every time. /mooring.cdx.json lists what is in the image.

FROM golang:1.26.8-bookworm AS build
ARG VERSION=dev
ARG SOURCE_DATE_EPOCH=0
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false"
WORKDIR /src
COPY go.mod go.sum LICENSE ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
RUN go build -trimpath -ldflags "-s -w -buildid= -X mooring/pkg/cli.version=$VERSION" -o /out/mooring ./cmd/mooring
COPY tools/go.mod tools/go.sum tools/
COPY tools/sbom tools/sbom
RUN cd tools && go build -trimpath -o /sbom ./sbom
RUN /sbom -modcache "$(go env GOMODCACHE)" -version "$VERSION" -epoch "$SOURCE_DATE_EPOCH" -out /out/mooring.cdx.json /out/mooring
RUN install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
    && find /out -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

FROM debian:bookworm-slim AS fuse-base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates ceph-fuse \
    && rm -rf /var/lib/apt/lists/* \
    && dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${source:Package}\n' >/packages.tsv

FROM build AS fuse-list
ARG VERSION=dev
ARG SOURCE_DATE_EPOCH=0
COPY --from=fuse-base /packages.tsv /packages.tsv
RUN /sbom -modcache "$(go env GOMODCACHE)" -version "$VERSION" -epoch "$SOURCE_DATE_EPOCH" -packages /packages.tsv -out /mooring.cdx.json /out/mooring

FROM fuse-base AS fuse
COPY --from=build /out/mooring /mooring
COPY --from=fuse-list /mooring.cdx.json /mooring.cdx.json
# The modes that can't do with that say so in their pod's securityContext.
USER 65532:65532
ENTRYPOINT ["/mooring"]

FROM scratch AS static
COPY --from=build /out/ /
USER 65532:65532
ENTRYPOINT ["/mooring"]
