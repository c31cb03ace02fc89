package functions

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// responders are the sources of the bundled responders, with their cases, and the event of those that have none of their own.
//
//go:embed annotate exec forward isolate-pod kill-pod label notify pod-log testdata/event.json
var responders embed.FS

// ErrResponder is in the errors of WriteResponder.
var ErrResponder = errors.New("no such bundled responder")

const defaultEvent = "testdata/event.json"

// WriteResponder writes the folder of a new function that begins as the bundled responder from: its source, its cases, its manifest, and
// the document given, with the new name in all of them. It returns the names of the files. Errors: ErrResponder, ErrName, ErrNotEmpty, or
// the file system's.
func WriteResponder(dir, name, from string, document []byte) ([]string, error) {
	if err := checkNew(dir, name); err != nil {
		return nil, err
	}
	files, err := responder(from)
	if err != nil {
		return nil, err
	}
	module := "function.wasm"
	if source, ok := files[from+".js"]; ok {
		delete(files, from+".js")
		module = name + ".js"
		files[module] = source
		files[name+".yaml"] = document
	} else {
		if files["go.mod"], err = fs.ReadFile(templates, "template/go/go.mod.tmpl"); err != nil {
			return nil, err
		}
		files["go.mod"] = []byte(strings.ReplaceAll(string(files["go.mod"]), "NAME", name))
		if files[".gitignore"], err = fs.ReadFile(templates, "template/common/gitignore.tmpl"); err != nil {
			return nil, err
		}
		files["manifest.json"] = []byte(strings.Replace(string(files["manifest.json"]), `"name": "`+from+`"`, `"name": "`+name+`"`, 1))
		files["function.yaml"] = document
	}
	for file, text := range files {
		switch path.Ext(file) {
		case ".yaml":
			files[file] = []byte(renamed(string(text), from, name, module))
		case ".txtar": // traces name the source
			files[file] = []byte(strings.ReplaceAll(string(text), from+".js:", name+".js:"))
		}
	}
	for file, text := range files {
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(file)), text); err != nil {
			return nil, err
		}
	}
	if _, ok := files["go.mod"]; ok {
		err = writeSDK("go", filepath.Join(dir, "tiercel"))
	}
	return slices.Sorted(maps.Keys(files)), err
}

// renamed is the document of a responder as that of a function with another name and its own module.
func renamed(document, from, name, module string) string {
	return strings.NewReplacer("\n  name: "+from+"\n", "\n  name: "+name+"\n", "module: builtin:"+from+"\n", "module: file:"+module+"\n").Replace(document)
}

// Responders returns the names of the bundled responders.
func Responders() []string {
	var names []string
	entries, _ := responders.ReadDir(".") // it is in the program
	for _, e := range entries {
		if e.Name() != "testdata" {
			names = append(names, e.Name())
		}
	}
	return names
}

// responder returns the files of a bundled responder.
func responder(name string) (map[string][]byte, error) {
	if info, err := fs.Stat(responders, name); err != nil || !info.IsDir() || name == "testdata" || strings.Contains(name, "/") || name == "." {
		return nil, fmt.Errorf("builtin:%s: %w; there are %s", name, ErrResponder, strings.Join(Responders(), ", "))
	}
	files := map[string][]byte{}
	err := fs.WalkDir(responders, name, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[strings.TrimPrefix(p, name+"/")], err = responders.ReadFile(p)
		return err
	})
	if err == nil && files[defaultEvent] == nil {
		files[defaultEvent], err = responders.ReadFile(defaultEvent)
	}
	return files, err
}

// checkNew refuses names that are none and folders that hold something.
func checkNew(dir, name string) error {
	if !nameRE.MatchString(name) {
		return fmt.Errorf("%q: %w", name, ErrName)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	return nil
}
