// Package bustest gives tests a bus of their own.
package bustest

import (
	"testing"

	"github.com/tiercel-project/tiercel/bus"
)

// Start starts an embedded server with all streams, as tiercel run has it, and connects to it; both end with the test. Without cfg.DataDir its
// files are in a folder of the test's own. The bus has the limits of cfg.
func Start(t testing.TB, cfg bus.ServerConfig) *bus.Bus {
	t.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	server, err := bus.StartServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	client := bus.DefaultConfig()
	client.Server, client.Limits = server, cfg.Limits
	b, err := bus.Connect(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}
