package functions

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/functions/sdk/javascript"
)

// sources are what a guest needs of this module, as they are.
//
//go:embed abi/*.go sdk/go/*.go
var sources embed.FS

//go:embed template
var templates embed.FS

const sdkModule = `// The parts of Tiercel that a function is built with.
module github.com/tiercel-project/tiercel

go 1.26.0
`

// Errors of WriteTemplate, wrapped.
var (
	ErrLanguage = errors.New("no template for this language")
	ErrName     = errors.New("a function's name is lower-case letters, digits and \"-\", at most 63, with a letter first and no \"-\" last")
	ErrNotEmpty = errors.New("the folder is not empty")
)

var nameRE = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// common is the folder of what templates share. A language that has a file or folder of the same name has its own instead.
const common = "common"

// Languages returns the languages that there are templates for, sorted.
func Languages() []string {
	entries, err := templates.ReadDir("template")
	if err != nil {
		panic("functions: " + err.Error()) // it is embedded
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != common {
			names = append(names, e.Name())
		}
	}
	return names
}

// WriteTemplate writes a new function's folder, with all that is needed to build it: dir, which must be empty or not exist yet. It
// returns the names of the files meant to be edited. Errors: ErrLanguage, ErrName, ErrNotEmpty, or the file system's.
func WriteTemplate(dir, name, lang string) ([]string, error) {
	if !slices.Contains(Languages(), lang) {
		return nil, fmt.Errorf("%q: %w; there are %s", lang, ErrLanguage, strings.Join(Languages(), ", "))
	}
	if err := checkNew(dir, name); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	if err := templateFiles(files, lang, name, nil); err != nil {
		return nil, err
	}
	own := map[string]bool{}
	if lang == "javascript" || lang == "typescript" {
		own["function.yaml"], own["manifest.json"] = true, true // the source brings both
	}
	for file := range files {
		top, _, _ := strings.Cut(file, "/")
		own[top] = true
	}
	if err := templateFiles(files, common, name, own); err != nil {
		return nil, err
	}
	written := make([]string, 0, len(files))
	for file, text := range files {
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(file)), text); err != nil {
			return nil, err
		}
		written = append(written, file)
	}
	slices.Sort(written)
	return written, writeSDK(lang, filepath.Join(dir, "tiercel"))
}

// templateFiles adds the files of a template, with the function's name filled in, but for what is left out at the top.
func templateFiles(files map[string][]byte, lang, name string, leaveOut map[string]bool) error {
	root := path.Join("template", lang)
	return fs.WalkDir(templates, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := templates.ReadFile(p)
		if err != nil {
			return err
		}
		file := strings.TrimSuffix(strings.TrimPrefix(p, root+"/"), ".tmpl")
		if file == "gitignore" {
			file = ".gitignore"
		}
		if top, _, _ := strings.Cut(file, "/"); !leaveOut[top] {
			files[strings.ReplaceAll(file, "NAME", name)] = []byte(strings.ReplaceAll(string(text), "NAME", name))
		}
		return nil
	})
}

// writeSDK writes the SDK of a language beside a function's own files; one whose runtime is in the program has nothing to write.
func writeSDK(lang, dir string) error {
	switch lang {
	case "go":
		if err := writeFile(filepath.Join(dir, "go.mod"), []byte(sdkModule)); err != nil {
			return err
		}
		return copySources(sources, ".", filepath.Join(dir, "functions"))
	case "c":
		return copySources(sourcesC, "sdk/c", dir)
	case "rust":
		return copySources(sourcesRust, "sdk/rust", dir)
	case "assemblyscript":
		return copySources(sourcesAssemblyScript, "sdk/assemblyscript/lib", dir)
	case "javascript", "typescript":
		return writeFile(dir+".d.ts", []byte(javascript.Types)) // for an editor: the SDK itself is in the program
	}
	return nil
}

func copySources(from fs.FS, root, dir string) error {
	return fs.WalkDir(from, root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(from, file)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(file, root+"/"))), text)
	})
}

func writeFile(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
