//go:build bench

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// childEnv names the function of children that a process of the benchmarks runs instead of them: the sensor passes over its own process.
const childEnv = "TIERCEL_BENCH_CHILD"

// children are what child processes do, by name.
var children = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := children[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child returns the command that runs children[name] with args.
func child(b testing.TB, name string, args ...string) *exec.Cmd {
	b.Helper()
	if children[name] == nil {
		b.Fatalf("no child %q", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	b.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GOGC=off")
	cmd.Stderr = os.Stderr
	return cmd
}
