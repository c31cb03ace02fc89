package functions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
)

// Every document is accepted, rehearses, and fits the manifest of its module.
func TestDocuments(t *testing.T) {
	docs, err := function.ReadFiles(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != 3 {
		t.Errorf("%d documents, want 3", len(docs))
	}
	for _, d := range docs {
		if d.Spec.Mode != capability.DryRun {
			t.Errorf("%s: mode %s", d.Metadata.Name, d.Spec.Mode)
		}
		name, ok := strings.CutPrefix(d.Spec.Module, "builtin:")
		if !ok {
			t.Errorf("%s: module %s", d.Metadata.Name, d.Spec.Module)
			continue
		}
		data, err := os.ReadFile(filepath.Join("..", "..", "functions", name, "manifest.json"))
		if err != nil {
			t.Error(err)
			continue
		}
		m, err := manifest.Parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := d.Check(m); err != nil {
			t.Error(err)
		}
	}
}
