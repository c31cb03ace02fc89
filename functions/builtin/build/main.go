// Command build compiles the bundled responders into the folder it is given.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/builtin"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run is called by go generate in functions/builtin: the sources are beside it.
func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: build FOLDER")
	}
	for _, name := range builtin.Names() {
		wasm, err := functions.Build(ctx, filepath.Join("..", name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(args[0], name+".wasm"), wasm, 0o644); err != nil {
			return err
		}
	}
	return nil
}
