// Command responders makes modules of the bundled responders, for go generate in functions/builtin: it compiles those in Go and packs those
// in JavaScript into the folder it is given.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run is called in functions/builtin: the sources are beside it.
func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: responders FOLDER")
	}
	engine, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		return err
	}
	defer engine.Close()
	for _, name := range builtin.Names() {
		module, err := build(ctx, engine, filepath.Join("..", name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(args[0], name+".wasm"), module, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func build(ctx context.Context, engine *sandbox.Engine, dir string) ([]byte, error) {
	file := filepath.Join(dir, filepath.Base(dir)+".js")
	source, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return functions.Build(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	p, err := engine.Pack(ctx, file, source)
	if err != nil {
		return nil, err
	}
	return p.Module, nil
}
