// Package builtin holds the bundled responders as modules: what module: builtin:NAME in a function's document means. They are made
// by go generate ./functions/builtin into dist, which is not committed; a program built without that has none and says so. Read [Module].
package builtin

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

//go:generate go run ../../cmd/responders dist

//go:embed all:dist
var dist embed.FS

// Names of the bundled responders, whether they are compiled in or not; their sources are the folders of functions with these names.
var names = []string{"annotate", "exec", "forward", "isolate-pod", "kill-pod", "label", "notify", "pod-log"}

// Errors of Module.
var (
	ErrUnknown  = errors.New("no such bundled responder")
	ErrNotBuilt = errors.New("this program was built without the bundled responders: build it with make build")
)

// Names returns the bundled responders' names, sorted.
func Names() []string { return slices.Clone(names) }

// Module returns a bundled responder. Errors: ErrUnknown, ErrNotBuilt, wrapped.
func Module(name string) ([]byte, error) {
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("builtin:%s: %w (there are %s)", name, ErrUnknown, strings.Join(names, ", "))
	}
	wasm, err := dist.ReadFile("dist/" + name + ".wasm")
	if err != nil {
		return nil, fmt.Errorf("builtin:%s: %w", name, ErrNotBuilt)
	}
	return wasm, nil
}
