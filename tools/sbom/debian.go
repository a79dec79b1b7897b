package main

import (
	"fmt"
	"os"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// debian lists the packages in a file of dpkg-query's, if there is one.
func debian(file string) ([]cdx.Component, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var components []cdx.Component
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 {
			return nil, fmt.Errorf("%s: %q is not a package, its version, architecture and source", file, line)
		}
		name, version, arch, source := fields[0], fields[1], fields[2], fields[3]
		qualifiers := packageurl.QualifiersFromMap(map[string]string{"arch": arch, "upstream": source}) // advisories are for sources
		purl := packageurl.NewPackageURL(packageurl.TypeDebian, "debian", name, version, qualifiers, "").ToString()
		components = append(components, cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: purl})
	}
	return components, nil
}
