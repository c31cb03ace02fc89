package functions

import (
	"context"
	"embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sourcesRust is the SDK for Rust, for the folders of new functions.
//
//go:embed sdk/rust/Cargo.toml sdk/rust/src
var sourcesRust embed.FS

const (
	rustTarget  = "wasm32-unknown-unknown"
	rustFlags   = "-C target-feature=+simd128,+bulk-memory" // texts are looked at 16 bytes at a time; RUSTFLAGS comes first
	installRust = "install the Debian packages cargo rustc libstd-rust-dev-wasm32 lld-14, or with rustup: rustup target add " + rustTarget
)

func buildRust(ctx context.Context, dir, tmp string, _ []string) ([]byte, error) {
	bin, err := findRust(ctx)
	if err != nil {
		return nil, err
	}
	// Beside the crate's own target folder: another compiler's products are no use.
	env := []string{"CARGO_TARGET_DIR=" + tmp, "RUSTC=" + filepath.Join(bin, "rustc"), "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=" + rustFlags}
	if err := runCompiler(ctx, dir, env, filepath.Join(bin, "cargo"), "build", "--release", "--quiet", "--target", rustTarget); err != nil {
		return nil, err
	}
	modules, err := filepath.Glob(filepath.Join(tmp, rustTarget, "release", "*.wasm"))
	if err != nil {
		return nil, err
	}
	if len(modules) != 1 {
		return nil, errors.New(`no module was made: Cargo.toml needs [lib] with crate-type = ["cdylib"]`)
	}
	return os.ReadFile(modules[0])
}

// findRust returns the folder of a cargo and a rustc that can make WebAssembly: the first of PATH that has the target's library.
func findRust(ctx context.Context) (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "cargo")); err != nil || !filepath.IsAbs(dir) {
			continue
		}
		rustc := filepath.Join(dir, "rustc")
		lib, err := exec.CommandContext(ctx, rustc, "--print", "target-libdir", "--target", rustTarget).Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(strings.TrimSpace(string(lib))); err == nil {
			return dir, nil
		}
	}
	return "", missing("a cargo and rustc that can make WebAssembly", installRust)
}
