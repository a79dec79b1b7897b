package target

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Lab is what a real cloud's lab.json, beside its clouds.yaml, says of what no API tells.
type Lab struct {
	// Daemons are the pid files of the cloud's processes, by their names.
	Daemons map[string]string `json:"daemons"`
	DNS     struct {
		// Server is the host:port of the name server that Designate fills.
		Server string `json:"server"`
	} `json:"dns"`
	Paths struct {
		// Logs is the directory of the daemons' logs, NAME.log each.
		Logs string `json:"logs"`
	} `json:"paths"`
}

// Lab reads the description of a real cloud.
func (c *Cloud) Lab(t *testing.T) *Lab {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(c.file), "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	var lab Lab
	if err := json.Unmarshal(data, &lab); err != nil || lab.DNS.Server == "" {
		t.Fatalf("lab.json names no name server: %v", err)
	}
	return &lab
}
