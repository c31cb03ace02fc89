//go:build chaos

package bus

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startCluster starts three servers that know each other.
func startCluster(t *testing.T) []*outside {
	t.Helper()
	var routes []*url.URL
	ports := make([]int, 3)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0") // taken and left: the servers must know each other's ports before they start
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprintf("127.0.0.1:%d", ports[i])})
	}
	var servers []*outside
	for i := range ports {
		servers = append(servers, startOutside(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("s%d", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]}
			o.Routes = routes
		}))
	}
	return servers
}

// TestClusterLosesALeader: three replicas; the server that leads EVENTS is ended while events are published, three times. Every event is
// stored once. (Not in order: what the cluster refused while it had no leader comes behind what it took when it had one.)
func TestClusterLosesALeader(t *testing.T) {
	servers := startCluster(t)
	var urls []string
	for _, o := range servers {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.opts.Port))
	}
	b := servers[0].connect(t, func(c *Config) {
		c.URL = strings.Join(urls, ",")
		c.Limits = Limits{Replicas: 3}
	})
	deadline := time.Now().Add(time.Minute)
	for b.EnsureStreams(t.Context(), RoleSensor) != nil { // until the cluster has a leader
		if time.Now().After(deadline) {
			t.Fatal(b.EnsureStreams(t.Context(), RoleSensor))
		}
	}
	st, err := b.JetStream().Stream(t.Context(), StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().Config.Replicas; n != 3 {
		t.Fatalf("EVENTS has %d replicas, want 3", n)
	}
	l := newLedger()
	p := NewPublisher(b, l.config())
	run(t, p)
	const rounds, each = 3, 2000
	for round := range rounds {
		leader := leaderOf(t, b, servers)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range each {
				if err := p.Publish(testSubject, numbered(round*each+i)); err != nil {
					t.Error(err)
				}
			}
		}()
		leader.stop()
		<-done
		l.wait(t, "the round's events", func() bool { return len(l.acked) == (round+1)*each })
		leader.start(t)
	}
	if len(l.failed) > 0 {
		t.Errorf("failed: %v", l.failed)
	}
	times := map[string]int{}
	for r, err := range b.Range(t.Context(), Query{All: true}) {
		if err != nil {
			t.Fatal(err)
		}
		times[r.Event.ID]++
	}
	wrong := 0
	for _, id := range upTo(0, rounds*each) {
		if times[id] != 1 {
			wrong++
		}
	}
	if wrong > 0 || len(times) != rounds*each {
		t.Errorf("%d of %d events are not stored exactly once; %d ids are stored", wrong, rounds*each, len(times))
	}
}

// leaderOf is the server that leads EVENTS.
func leaderOf(t *testing.T, b *Bus, servers []*outside) *outside {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		st, err := b.JetStream().Stream(t.Context(), StreamEvents)
		if err != nil || st.CachedInfo().Cluster == nil {
			continue
		}
		for _, o := range servers {
			if o.opts.ServerName == st.CachedInfo().Cluster.Leader {
				return o
			}
		}
	}
	t.Fatal("EVENTS has no leader")
	return nil
}
