// Package conformance gives tests Falco's own rules and cases. They are in the folder that the environment variable TIERCEL_CONFORMANCE
// names; without it a test that asks for them says so and is skipped.
package conformance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Read returns a file of the folder.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("TIERCEL_CONFORMANCE")
	if dir == "" {
		t.Skip("TIERCEL_CONFORMANCE names no folder: Falco's rules and cases are not there")
	}
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Decode reads a JSON file of the folder into v.
func Decode(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(Read(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
