// Command tiercel watches Linux and Kubernetes from the kernel up and answers: sensor, bus and function runtime in one binary.
package main

import (
	"context"
	"os"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
)

// version is set by the linker.
var version = "devel"

func main() {
	noHeapProfile()
	limitMemory()
	os.Exit(run(context.Background(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// run executes the command line args and returns the exit code.
func run(ctx context.Context, args []string, s cli.Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	return cli.Report(s.Err, root.ExecuteContext(ctx))
}
