package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"
	"github.com/package-url/packageurl-go"
	"golang.org/x/mod/module"
)

// linked lists Go's own library and the modules that a program says it was linked from.
func linked(program, modcache string, licences *licences) ([]cdx.Component, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	standard := library("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	standard.Licenses = spdx("BSD-3-Clause")
	components := []cdx.Component{standard}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c, err := component(m, modcache, licences)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		components = append(components, c)
	}
	return components, nil
}

func component(m *debug.Module, modcache string, licences *licences) (cdx.Component, error) {
	c := library(m.Path, m.Version)
	if sum, ok := strings.CutPrefix(m.Sum, "h1:"); ok { // a SHA-256 over the module's files, as in go.sum
		raw, err := base64.StdEncoding.DecodeString(sum)
		if err != nil {
			return c, err
		}
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}
	}
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return c, err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return c, err
	}
	c.Licenses = licences.of(filepath.Join(modcache, escaped+"@"+version))
	if c.Licenses == nil {
		return c, fmt.Errorf("no licence that is known stands in %s", modcache)
	}
	return c, nil
}

func library(name, version string) cdx.Component {
	space, last := path.Split(name)
	purl := packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(space, "/"), last, version, nil, "").ToString()
	return cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: purl}
}

// licences tells licences by their text.
type licences struct{ texts *classifier.Classifier }

func newLicences() (*licences, error) {
	texts, err := assets.DefaultClassifier()
	return &licences{texts}, err
}

// of gives the licences whose texts are at the top of a directory; nil if there is none.
func (l *licences) of(dir string) *cdx.Licenses {
	var ids []string
	files, _ := filepath.Glob(filepath.Join(dir, "*")) // an error is for patterns alone
	for _, file := range files {
		name := strings.ToUpper(filepath.Base(file))
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a directory of that name
		}
		for _, match := range l.texts.Match(text).Matches {
			if match.MatchType == "License" {
				ids = append(ids, match.Name)
			}
		}
	}
	slices.Sort(ids)
	return spdx(slices.Compact(ids)...)
}

func spdx(ids ...string) *cdx.Licenses {
	if len(ids) == 0 {
		return nil
	}
	licenses := cdx.Licenses{}
	for _, id := range ids {
		licenses = append(licenses, cdx.LicenseChoice{License: &cdx.License{ID: id}})
	}
	return &licenses
}
