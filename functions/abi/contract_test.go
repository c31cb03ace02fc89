package abi_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/contract.golden")

// tiercel_v1 is frozen: every name, value, type and key of the package, and the WIT file, is as in testdata/contract.golden. What is added so
// that modules of today neither see nor need it (an operation, a key of a response) may be added there; anything else is a tiercel_v2.
func TestContractIsFrozen(t *testing.T) {
	got := contract(t)
	const file = "testdata/contract.golden"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("the contract has changed (-want +got):\n%s", diff)
	}
}

// contract is every declaration of the package without comments and bodies, then the WIT file without comments.
func contract(t *testing.T) []byte {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	var out bytes.Buffer
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution) // without comments
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				fn.Body = nil
			}
			if err := format.Node(&out, fset, d); err != nil {
				t.Fatal(err)
			}
			out.WriteByte('\n')
		}
	}
	wit, err := os.ReadFile("tiercel.wit")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(wit)) {
		line, _, _ = strings.Cut(line, "//")
		if line = strings.TrimRight(line, " \n"); line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.Bytes()
}
