package functions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// Every document is accepted, rehearses, and fits the manifest of its module.
func TestDocuments(t *testing.T) {
	docs, err := function.ReadFiles(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != len(builtin.Names()) {
		t.Errorf("%d documents, want one for each of %q", len(docs), builtin.Names())
	}
	engine, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	for _, d := range docs {
		if d.Spec.Mode != capability.DryRun {
			t.Errorf("%s: mode %s", d.Metadata.Name, d.Spec.Mode)
		}
		name, ok := strings.CutPrefix(d.Spec.Module, "builtin:")
		if !ok {
			t.Errorf("%s: module %s", d.Metadata.Name, d.Spec.Module)
			continue
		}
		m, err := manifestOf(t, engine, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := d.Check(m); err != nil {
			t.Error(err)
		}
	}
}

// manifestOf is the manifest of a bundled responder in Go or JavaScript, built or not.
func manifestOf(t *testing.T, engine *sandbox.Engine, name string) (abi.Manifest, error) {
	t.Helper()
	dir := filepath.Join("..", "..", "functions", name)
	file := filepath.Join(dir, name+".js")
	source, err := os.ReadFile(file)
	if err == nil {
		p, err := engine.Pack(t.Context(), file, source)
		if err != nil {
			return abi.Manifest{}, err
		}
		return p.Manifest, nil
	}
	data, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return abi.Manifest{}, err
	}
	return manifest.Parse(data)
}
