package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/sensor/exempt"
)

const healthy = `# HELP tiercel_sensor_ring_size_bytes Size of a ring.
# TYPE tiercel_sensor_ring_size_bytes gauge
tiercel_sensor_ring_size_bytes{ring="event"} 4.194304e+06
tiercel_sensor_ring_size_bytes{ring="process"} 2.097152e+06
tiercel_sensor_records_lost_total{reason="full",ring="event"} 0
tiercel_sensor_output_alerts_total{output="stdout",result="written"} 12
`

// status serves metrics and readiness like a tiercel.
func status(t *testing.T, metrics, waits string) *Env {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metrics) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if waits != "" {
			http.Error(w, waits, http.StatusServiceUnavailable)
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return &Env{HTTP: strings.TrimPrefix(srv.URL, "http://"), Client: srv.Client(), Connect: new(connect.Flags)}
}

func texts(fs []Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, string(f.Status)+" "+f.Text)
	}
	return out
}

func TestSensor(t *testing.T) {
	const rings = "ok rings: event 4096 KiB, process 2048 KiB"
	for _, tt := range []struct {
		name, metrics, waits string
		want                 []string
	}{
		{"healthy", healthy, "", []string{rings, "ok nothing was lost or held back since the start", "ok ready"}},
		{"losses", healthy + `tiercel_sensor_records_lost_total{reason="full",ring="process"} 7
tiercel_sensor_matches_throttled_total{priority="Notice"} 3
tiercel_bus_spool_messages_lost_total{reason="full"} 0
tiercel_bus_spool_messages 5000
tiercel_sensor_output_alerts_total{output="http",result="failed"} 2
`, "bus: connection to NATS is reconnecting\n", []string{
			rings,
			"action records lost on their way out of the kernel since the start: 7 (reason full, ring process)",
			"action matches held back: a rule runs away with a target since the start: 3 (priority Notice)",
			"action output http: 2 alerts failed since the start",
			"action 5000 matches wait in the spool",
			"action not ready: bus: connection to NATS is reconnecting",
		}},
		{"rules", healthy + "tiercel_sensor_rules_enabled 59\ntiercel_sensor_rules_stale 0\n", "", []string{
			rings, "ok 59 rules for system calls are enabled", "ok nothing was lost or held back since the start", "ok ready",
		}},
		{"rules rejected", healthy + "tiercel_sensor_rules_enabled 0\ntiercel_sensor_rules_stale 1\n", "", []string{
			rings, "action no rule for system calls is enabled: nothing is watched", "action the rules files have an error: the rules from before run on",
			"ok nothing was lost or held back since the start", "ok ready",
		}},
		{"runtime alone", "tiercel_runtime_x 1\n", "", []string{"note this tiercel runs no sensor, or has not attached it yet", "ok ready"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := checkSensor(t.Context(), status(t, tt.metrics, tt.waits))
			if diff := cmp.Diff(tt.want, texts(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, f := range got {
				if f.Status == Action && f.Hint == "" && !strings.HasPrefix(f.Text, "not ready") {
					t.Errorf("%q says not what to do", f.Text)
				}
			}
		})
	}
}

// TestExempt: who is exempt besides the sensor is named, and that somebody was refused is said.
func TestExempt(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, healthy, `tiercel_sensor_exempt_refused_total{reason="program"} 2`+"\n"+`tiercel_sensor_exempt_refused_total{reason="user"} 0`+"\n")
	})
	mux.HandleFunc("/exempt", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode([]exempt.Peer{{PID: 7, Exe: "/usr/bin/tiercel", Since: time.Now().Add(-time.Hour), Calls: 9}})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	got := texts(checkSensor(t.Context(), &Env{HTTP: strings.TrimPrefix(srv.URL, "http://"), Client: srv.Client()}))
	for _, want := range []string{
		"note processes asked to be exempt from rules and were refused since the start: 2 (reason program)",
		`note rules do not see what process 7 ("/usr/bin/tiercel") does: it has been exempt for 1h0m`,
		"ok nothing was lost or held back since the start",
	} {
		if !slices.ContainsFunc(got, func(text string) bool { return strings.HasPrefix(text, want) }) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

// TestNobody: without a tiercel the rest is found out all the same, and what is not known is said.
func TestNobody(t *testing.T) {
	e := &Env{HTTP: "127.0.0.1:1", Client: &http.Client{}, Connect: &connect.Flags{Data: t.TempDir()}}
	for _, f := range append(checkSensor(t.Context(), e), checkBus(t.Context(), e)...) {
		if f.Status != Unknown || f.Hint == "" {
			t.Errorf("%+v: want it unknown, with a hint", f)
		}
	}
	e.Connect = &connect.Flags{NATS: "nats://127.0.0.1:1"}
	if fs := checkBus(t.Context(), e); len(fs) != 1 || fs[0].Status != Action {
		t.Errorf("%+v: a server that was named and does not answer needs action", fs)
	}
}

func TestBus(t *testing.T) {
	sc := bus.DefaultServerConfig()
	sc.DataDir = t.TempDir()
	srv, err := bus.StartServer(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	got := texts(checkBus(t.Context(), &Env{Connect: &connect.Flags{Data: sc.DataDir}}))
	if len(got) != 2 || !strings.HasPrefix(got[0], "ok NATS answers at nats://127.0.0.1:") || !strings.HasPrefix(got[1], "ok JetStream: 0 streams, ") {
		t.Errorf("got %q", got)
	}
}

// TestCommand: what the machine has is found without any service, in a table and as JSON, and action is exit code 1.
func TestCommand(t *testing.T) {
	defer func(all []Check) { Checks = all }(Checks)
	Checks = slices.DeleteFunc(slices.Clone(Checks), func(c Check) bool { return c.Name == "backends" }) // root would load programs
	Checks = append(Checks, Check{"test", func(context.Context, *Env) []Finding {
		return []Finding{found(Action, "broken").hint("mend it")}
	}})
	for _, format := range []string{"table", "json"} {
		var out bytes.Buffer
		cmd := New(cli.Streams{Out: &out, Err: &out})
		cmd.SetArgs([]string{"-o", format, "--http", "127.0.0.1:1", "--data", t.TempDir()})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if code := cli.Report(&out, cmd.Execute()); code != cli.ExitError {
			t.Errorf("exit code %d", code)
		}
		if format == "table" {
			for _, want := range []string{"OK ", "Linux ", "ACTION", "broken", "hint: mend it", "UNKNOWN"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			continue
		}
		var fs []Finding
		if err := json.Unmarshal(out.Bytes(), &fs); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, f := range fs {
			seen[f.Check] = true
			if f.Status == "" || f.Text == "" {
				t.Errorf("%+v", f)
			}
		}
		for _, c := range Checks {
			if !seen[c.Name] {
				t.Errorf("check %s says nothing", c.Name)
			}
		}
	}
}
