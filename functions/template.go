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
	ErrLanguage = errors.New("no template for this language; there is go")
	ErrName     = errors.New("a function's name is lower-case letters, digits and \"-\", at most 63, with a letter first and no \"-\" last")
	ErrNotEmpty = errors.New("the folder is not empty")
)

var nameRE = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// WriteTemplate writes a new function's folder, with all that is needed to build it: dir, which must be empty or not exist yet. It
// returns the names of the files meant to be edited. Errors: ErrLanguage, ErrName, ErrNotEmpty, or the file system's.
func WriteTemplate(dir, name, lang string) ([]string, error) {
	if lang != "go" {
		return nil, fmt.Errorf("%q: %w", lang, ErrLanguage)
	}
	if !nameRE.MatchString(name) {
		return nil, fmt.Errorf("%q: %w", name, ErrName)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	files, err := templateFiles(name, lang)
	if err != nil {
		return nil, err
	}
	written := make([]string, 0, len(files))
	for file, text := range files {
		if err := writeFile(filepath.Join(dir, file), text); err != nil {
			return nil, err
		}
		written = append(written, file)
	}
	slices.Sort(written)
	return written, writeSDK(filepath.Join(dir, "tiercel"))
}

func templateFiles(name, lang string) (map[string][]byte, error) {
	files := map[string][]byte{}
	root := path.Join("template", lang)
	entries, err := templates.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		text, err := templates.ReadFile(path.Join(root, e.Name()))
		if err != nil {
			return nil, err
		}
		file := strings.TrimSuffix(e.Name(), ".tmpl")
		if file == "gitignore" {
			file = ".gitignore"
		}
		files[file] = []byte(strings.ReplaceAll(string(text), "NAME", name))
	}
	return files, nil
}

func writeSDK(dir string) error {
	if err := writeFile(filepath.Join(dir, "go.mod"), []byte(sdkModule)); err != nil {
		return err
	}
	return fs.WalkDir(sources, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := sources.ReadFile(file)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, "functions", filepath.FromSlash(file)), text)
	})
}

func writeFile(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
