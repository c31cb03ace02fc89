// Package functions makes modules of functions written in Go and holds what a new one begins with. The contract between modules and
// the runtime is functions/abi, the SDK is functions/sdk/go, the bundled responders are the other folders, compiled into
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

// Build compiles the function in the folder dir with the go command and returns the module, with manifest.json as its manifest. What
// the compiler has to say is part of the error.
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
	out := filepath.Join(tmp, "function.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("there is no go command: install Go 1.26 or later from https://go.dev/dl")
		}
		return nil, fmt.Errorf("go build: %w\n%s", err, strings.TrimSpace(string(text)))
	}
	module, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	if len(module) > abi.MaxModule {
		return nil, fmt.Errorf("the module has %d bytes, more than %d", len(module), abi.MaxModule)
	}
	return manifest.Append(module, data)
}
