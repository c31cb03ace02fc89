package tiercel

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport lists, for each top-level folder, what of ours it may import: the table of ARCHITECTURE.md.
var mayImport = map[string][]string{
	"rules":     {},
	"bpf":       {},
	"bus":       {},
	"functions": {},
	"sensor":    {"bpf", "bus", "rules"},
	"runtime":   {"bus", "rules", "functions/abi", "functions/sdk/javascript"},
	"console":   {"bus"},
	"samples":   {"functions"},
	"deploy":    {},
	"cmd":       {"bpf", "bus", "console", "functions", "rules", "runtime", "samples", "sensor"},
	"test":      {"bpf", "bus", "cmd", "console", "functions", "rules", "runtime", "samples", "sensor"},
	"bench":     {"bpf", "bus", "functions", "rules", "runtime", "samples", "sensor", "test"},
}

// testMayImport lists what a folder's own tests may import besides.
var testMayImport = map[string][]string{
	"functions": {"runtime/sandbox", "runtime/testcase"},
	"rules":     {"samples"},
	"runtime":   {"functions", "samples", "test"},
	"samples":   {"rules", "runtime", "sensor"},
	"sensor":    {"samples", "test"},
}

// standardOnly lists the packages that run inside guests: they import the standard library and themselves only.
var standardOnly = []string{"functions/abi", "functions/sdk/go"}

func TestImportDirection(t *testing.T) {
	prefix := modulePath(t) + "/"
	walkGo(t, func(path string) {
		dir := filepath.ToSlash(filepath.Dir(path))
		from, _, _ := strings.Cut(dir, "/")
		if from == "." {
			return
		}
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("%s: top-level folder %q is not in mayImport", path, from)
		}
		isTest := strings.HasSuffix(path, "_test.go")
		if isTest {
			allowed = slices.Concat(allowed, testMayImport[from])
		}
		for _, imp := range imports(t, path) {
			to, ours := strings.CutPrefix(imp, prefix)
			if !ours {
				if !isTest && slices.Contains(standardOnly, dir) && strings.Contains(strings.Split(imp, "/")[0], ".") {
					t.Errorf("%s imports %s: %s uses the standard library only", path, imp, dir)
				}
				continue
			}
			within := func(dir string) bool { return to == dir || strings.HasPrefix(to, dir+"/") }
			if !within(from) && !slices.ContainsFunc(allowed, within) {
				t.Errorf("%s imports %s: %s may import only %q", path, to, from, allowed)
			}
		}
	})
}

func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	walkGo(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || f.Doc != nil
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

// walkGo calls visit for every Go file of the main module. It opens the files itself, so that the test cache notices new imports.
func walkGo(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." {
			if d.Name() == "testdata" || d.Name() == "node_modules" || strings.ContainsAny(d.Name()[:1], "._") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return filepath.SkipDir // a module of its own
			}
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func imports(t *testing.T, path string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, imp := range f.Imports {
		p, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

func modulePath(t *testing.T) string {
	t.Helper()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(mod), "\n")
	return strings.TrimPrefix(line, "module ")
}
