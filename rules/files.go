package rules

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tiercel-project/tiercel/rules/load"
)

// A File is the text of a rules file. Name is what errors call it.
type File = load.File

// A Report holds the errors and warnings of a Load, with their places.
type Report = load.Report

// ReadFiles reads rules files in the order of paths. A directory stands for the .yaml and .yml files in it, sorted by name.
func ReadFiles(paths []string) ([]File, error) {
	var files []File
	for _, path := range paths {
		names, err := expand(path)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			files = append(files, File{Name: name, Data: data})
		}
	}
	return files, nil
}

// expand returns the rules files that path stands for.
func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && isRulesFile(e.Name()) {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	return names, nil
}

// ReadFS reads the rules files at the root of fsys, sorted by name.
func ReadFS(fsys fs.FS) ([]File, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	var files []File
	for _, e := range entries {
		if e.IsDir() || !isRulesFile(e.Name()) {
			continue
		}
		data, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		files = append(files, File{Name: e.Name(), Data: data})
	}
	return files, nil
}

func isRulesFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}
