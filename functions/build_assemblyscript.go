package functions

import (
	"context"
	"embed"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// sourcesAssemblyScript is the SDK for AssemblyScript, for folders without one of their own.
//
//go:embed sdk/assemblyscript/lib
var sourcesAssemblyScript embed.FS

const installAssemblyScript = "run npm install in the function's folder (Debian packages nodejs npm), or have its bin folder in PATH"

func buildAssemblyScript(ctx context.Context, dir, tmp string, _ []string) ([]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	asc, err := findASC(dir)
	if err != nil {
		return nil, err
	}
	lib := filepath.Join(dir, "tiercel")
	if _, err := os.Stat(lib); err != nil {
		lib = filepath.Join(tmp, "lib")
		sdk, err := fs.Sub(sourcesAssemblyScript, "sdk/assemblyscript/lib")
		if err != nil {
			return nil, err
		}
		if err := os.CopyFS(lib, sdk); err != nil {
			return nil, err
		}
	}
	if lib, err = filepath.Rel(dir, lib); err != nil { // asc takes it as relative
		return nil, err
	}
	out := filepath.Join(tmp, "function.wasm")
	// Nothing is ever freed: an instance lives for one event. What asc would import from "env" is in the SDK.
	args := []string{
		"--config", "asconfig.json", "--lib", lib, "--runtime", "stub", "--optimizeLevel", "3", "--exportStart", "_initialize",
		"--use", "abort=tiercel_abort", "--use", "trace=tiercel_trace", "--use", "seed=tiercel_seed", "--outFile", out,
	}
	if err := runCompiler(ctx, dir, nil, asc, args...); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// findASC returns the compiler that is installed for the folder dir or one above it, or the one in PATH.
func findASC(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		asc := filepath.Join(d, "node_modules", ".bin", "asc")
		if _, err := os.Stat(asc); err == nil {
			return asc, nil
		}
		if filepath.Dir(d) == d {
			break
		}
	}
	if asc, err := exec.LookPath("asc"); err == nil {
		return asc, nil
	}
	return "", missing("asc, the compiler of AssemblyScript", installAssemblyScript)
}
