package doctor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFilter: what the kernel dropped is said in shares, by what decided; a type without a filter needs action.
func TestFilter(t *testing.T) {
	got := checkSensor(t.Context(), status(t, healthy+`tiercel_sensor_ring_used_bytes{ring="event"} 2.097152e+06
tiercel_sensor_ring_used_bytes{ring="process"} 0
tiercel_sensor_backend{backend="T"} 1
tiercel_sensor_filter_dropped_total{event_type="openat",stage="call"} 600
tiercel_sensor_filter_dropped_total{event_type="openat",stage="path"} 100
tiercel_sensor_filter_dropped_total{event_type="connect",stage="socket"} 200
tiercel_sensor_filter_emitted_total{event_type="openat"} 100
tiercel_sensor_filter_emitted_total{event_type="connect"} 0
tiercel_sensor_filter_sampled_total{event_type="openat"} 3
tiercel_sensor_filter_unsound_total 0
tiercel_sensor_filter_refused{event_type="rename",reason="too_large"} 1
`, ""))
	want := []string{
		"ok rings: event 4096 KiB (50 % full), process 2048 KiB (0 % full)",
		"note backend T: paths of calls other than open are read from the program's memory, and a thread that swaps one during the call may show " +
			"another; opens, execs and connects are never wrong",
		"ok of 1000 calls that some rule asks for, the kernel dropped 90.0 %, for no rule can match them: 60.0 % by the call alone, 10.0 % by its " +
			"paths, 20.0 % by its socket; 3 of those were checked, 0 matched after all",
		"ok most dropped: openat 700 (87.5 % of them), connect 200 (100.0 % of them)",
		"ok most left for the rules to decide: openat 100 (12.5 % of them)",
		"action no kernel filter for rename, so that every such call is read: the rules make it too large",
		"ok nothing was lost or held back since the start",
		"ok ready",
	}
	if diff := cmp.Diff(want, texts(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRefused: what is refused is asked for by others too; a tiercel that is not there refuses nothing.
func TestRefused(t *testing.T) {
	e := status(t, healthy+`tiercel_sensor_filter_refused{event_type="rename",reason="verifier"} 1
`, "")
	want := map[string]string{"rename": "the kernel's verifier refused it"}
	if diff := cmp.Diff(want, Refused(t.Context(), e.Client, e.HTTP)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Refused(t.Context(), e.Client, "127.0.0.1:1"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
