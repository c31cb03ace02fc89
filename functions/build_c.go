package functions

import (
	"context"
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sourcesC is the SDK for C, for folders without one of their own.
//
//go:embed sdk/c/tiercel.h
var sourcesC embed.FS

const installC = "install the Debian packages clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32, or wasi-sdk, with its bin folder in PATH"

func buildC(ctx context.Context, dir, tmp string, files []string) ([]byte, error) {
	clang, err := findClang(ctx)
	if err != nil {
		return nil, err
	}
	header, err := sourcesC.ReadFile("sdk/c/tiercel.h")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(tmp, "tiercel.h"), header, 0o644); err != nil {
		return nil, err
	}
	target := []string{"--target=wasm32-wasi", "-mexec-model=reactor"}
	if _, err := os.Stat("/usr/include/wasm32-wasi"); err == nil && strings.HasPrefix(clang, "/usr/bin/") {
		target = append(target, "--sysroot=/usr") // Debian's wasi-libc
	}
	out := filepath.Join(tmp, "function.wasm")
	link := append(slices.Clone(target), "-Wl,--strip-all", "-o", out)
	for i, file := range files {
		object := filepath.Join(tmp, strconv.Itoa(i)+".o")
		link = append(link, object)
		args := append(slices.Clone(target), "-O2", "-msimd128", "-Wall", "-Wextra", "-I", "tiercel", "-I", tmp, "-c", "-o", object, filepath.Base(file))
		if err := runCompiler(ctx, dir, nil, clang, args...); err != nil {
			return nil, err
		}
	}
	// In a step of its own, without -O: with it clang would pass the module to whatever wasm-opt is in PATH.
	if err := runCompiler(ctx, dir, nil, clang, link...); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// findClang returns a clang that has what WebAssembly needs: a linker, and the compiler's own library.
func findClang(ctx context.Context) (string, error) {
	for _, name := range []string{"clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ask := func(args ...string) bool {
			text, err := exec.CommandContext(ctx, path, args...).Output()
			answer := strings.TrimSpace(string(text))
			if err != nil || !filepath.IsAbs(answer) {
				return false
			}
			_, err = os.Stat(answer)
			return err == nil
		}
		if ask("-print-prog-name=wasm-ld") && ask("--target=wasm32-wasi", "-print-libgcc-file-name") {
			return path, nil
		}
	}
	return "", missing("a clang that can make WebAssembly", installC)
}
