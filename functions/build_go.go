package functions

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

func buildGo(ctx context.Context, dir, tmp string, _ []string) ([]byte, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return nil, missing("the go command", "install Go 1.26 or later from https://go.dev/dl")
	}
	out := filepath.Join(tmp, "function.wasm")
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "GOWORK=off", "CGO_ENABLED=0"}
	if err := runCompiler(ctx, dir, env, "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "."); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}
