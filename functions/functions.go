// Package functions makes modules of functions from their sources and holds what a new one begins with. The contract between modules and
// the runtime is functions/abi, the SDKs are the folders of functions/sdk, the bundled responders are the other folders, compiled into
// functions/builtin. Read [Build] and [WriteTemplate].
package functions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
)

// ManifestFile is the name of the file beside a function's source that becomes the module's manifest.
const ManifestFile = "manifest.json"

// Errors of Build, wrapped.
var (
	ErrNoSource = errors.New("there is no function in this folder")
	ErrNoTool   = errors.New("a tool to build with is missing")
)

// A builder compiles the functions of one language.
type builder struct {
	language string
	sign     string // pattern of the files that say a folder is of this language
	// compile makes a module of the folder dir, of which files are those that match sign. It may leave in tmp what it wants.
	compile func(ctx context.Context, dir, tmp string, files []string) (wasm []byte, err error)
}

// builders are tried in this order.
var builders = []builder{
	{"rust", "Cargo.toml", buildRust},
	{"assemblyscript", "asconfig.json", buildAssemblyScript},
	{"go", "*.go", buildGo},
	{"c", "*.c", buildC},
}

// Build compiles the function in the folder dir with the compiler of its language, which its files tell, and returns the module, with
// manifest.json as its manifest. What the compiler has to say is part of the error. Errors: ErrNoSource, ErrNoTool, wrapped, and others.
func Build(ctx context.Context, dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if _, err := manifest.Parse(data); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, ManifestFile), err)
	}
	tmp, err := os.MkdirTemp("", "tiercel-build-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	module, err := compile(ctx, dir, tmp)
	if err != nil {
		return nil, err
	}
	if len(module) > abi.MaxModule {
		return nil, fmt.Errorf("the module has %d bytes, more than %d", len(module), abi.MaxModule)
	}
	return manifest.Append(module, data)
}

func compile(ctx context.Context, dir, tmp string) ([]byte, error) {
	for _, b := range builders {
		files, err := filepath.Glob(filepath.Join(dir, b.sign))
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			return b.compile(ctx, dir, tmp, files)
		}
	}
	var signs []string
	for _, b := range builders {
		signs = append(signs, b.sign+" ("+b.language+")")
	}
	return nil, fmt.Errorf("%s: %w: it has none of %s", dir, ErrNoSource, strings.Join(signs, ", "))
}

// runCompiler runs a command in dir, with env beside the environment; what it says is part of the error.
func runCompiler(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, strings.TrimSpace(string(text)))
	}
	return nil
}

// missing is the error of a tool that is not there; install says how to come to it.
func missing(what, install string) error {
	return fmt.Errorf("%w: %s; %s", ErrNoTool, what, install)
}
