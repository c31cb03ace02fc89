package sensor

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestMetrics(t *testing.T) {
	r := start(t, nil)
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- shell(task(21, "sh"))
	r.out.waitFor(t, "Shell started")
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tiercel_sensor_") {
			t.Errorf("metric %s", f.GetName())
		}
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// TestStartDuration: how long it took until the sensor watched is in the log and in a metric.
func TestStartDuration(t *testing.T) {
	r := start(t, nil)
	r.log.waitFor(t, "watching the kernel")
	if !strings.Contains(r.log.String(), " duration=") {
		t.Errorf("no duration in the log:\n%s", r.log.String())
	}
	if n := testutil.ToFloat64(r.metrics.start); n <= 0 {
		t.Errorf("start_duration_seconds is %v", n)
	}
}
