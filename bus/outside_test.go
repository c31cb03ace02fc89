package bus

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// An outside is a NATS server that is not ours, in this process so that a test can end it and start it again on its port and files.
type outside struct {
	srv  *server.Server
	opts server.Options
}

func startOutside(t testing.TB, edit ...func(*server.Options)) *outside {
	t.Helper()
	o := &outside{opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		JetStreamMaxStore: 16 << 30, JetStreamMaxMemory: 1 << 20,
	}}
	for _, f := range edit {
		f(&o.opts)
	}
	o.start(t)
	t.Cleanup(o.stop)
	return o
}

func (o *outside) start(t testing.TB) {
	t.Helper()
	opts := o.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	o.opts.Port = srv.Addr().(*net.TCPAddr).Port
	o.srv = srv
}

func (o *outside) stop() {
	o.srv.Shutdown()
	o.srv.WaitForShutdown()
}

func (o *outside) connect(t testing.TB, edit ...func(*Config)) *Bus {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL = fmt.Sprintf("nats://127.0.0.1:%d", o.opts.Port)
	for _, f := range edit {
		f(&cfg)
	}
	b, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
