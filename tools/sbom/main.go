// Command sbom writes what an image has in it, as CycloneDX JSON (https://cyclonedx.org/docs/1.6/json/): the Go modules that are
// linked into a program, as the linker noted them in it, and Debian packages. The same program gives the same bytes: there is no serial
// number, and the time is what -epoch says.
//
//	sbom -out mooring.cdx.json -version 0.1.0 -modcache "$(go env GOMODCACHE)" [-packages packages.tsv] bin/mooring
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// inventory is what is asked for.
type inventory struct {
	version  string
	modcache string
	packages string
	epoch    int64
}

func run(args []string, stderr io.Writer) error {
	var (
		of  inventory
		out string
	)
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: sbom -out FILE -modcache DIRECTORY [flags] PROGRAM")
		flags.PrintDefaults()
	}
	flags.StringVar(&out, "out", "", "the `file` to write")
	flags.StringVar(&of.version, "version", "dev", "the program's `version`")
	flags.StringVar(&of.modcache, "modcache", "", "Go's module cache, a `directory`: licences are read there")
	flags.StringVar(&of.packages, "packages", "", "a `file` of Debian packages: dpkg-query's Package, Version, Architecture and source:Package, with tabs between them")
	flags.Int64Var(&of.epoch, "epoch", 0, "`seconds` since 1970: the time of the list")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if out == "" || of.modcache == "" || flags.NArg() != 1 {
		return errors.New("-out, -modcache and one program are needed")
	}
	bom, err := of.list(flags.Arg(0))
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o644), cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6), f.Close()) // the image's user reads it
}

func (of inventory) list(program string) (*cdx.BOM, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	packages, err := debian(of.packages)
	if err != nil {
		return nil, err
	}
	licences, err := newLicences()
	if err != nil {
		return nil, err
	}
	modules, err := linked(program, of.modcache, licences)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	name := filepath.Base(program)
	top := cdx.Component{
		BOMRef: name, Type: cdx.ComponentTypeApplication, Name: name, Version: of.version,
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses: licences.of("."),
	}
	components := slices.Concat(modules, packages)
	dependency := cdx.Dependency{Ref: name, Dependencies: &[]string{}}
	for _, c := range modules {
		*dependency.Dependencies = append(*dependency.Dependencies, c.BOMRef)
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Timestamp: time.Unix(of.epoch, 0).UTC().Format(time.RFC3339), Component: &top}
	bom.Components, bom.Dependencies = &components, &[]cdx.Dependency{dependency}
	return bom, nil
}
