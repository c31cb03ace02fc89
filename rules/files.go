package rules

import (
	"fmt"
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
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	return names, nil
}
