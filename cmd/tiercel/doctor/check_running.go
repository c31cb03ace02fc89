package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
)

// A sample is one figure of /metrics.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

var (
	samplePattern = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)`)
	labelPattern  = regexp.MustCompile(`([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"`)
)

// parseMetrics reads the text format of Prometheus. Lines that are none are passed over.
func parseMetrics(r io.Reader) []sample {
	var all []sample
	in := bufio.NewScanner(io.LimitReader(r, 16<<20))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		m := samplePattern.FindStringSubmatch(in.Text())
		if m == nil {
			continue
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			continue
		}
		s := sample{name: m[1], value: v, labels: map[string]string{}}
		for _, l := range labelPattern.FindAllStringSubmatch(m[2], -1) {
			s.labels[l[1]] = l[2]
		}
		all = append(all, s)
	}
	return all
}

// get asks the status server.
func (e *Env) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	return e.Client.Do(req)
}

// checkSensor asks the tiercel that runs here what it lost.
func checkSensor(ctx context.Context, e *Env) []Finding {
	resp, err := e.get(ctx, "/metrics")
	if err != nil {
		return []Finding{found(Unknown, "no tiercel answers at %s: rings, drops, spool and outputs are not known", e.HTTP).
			hint("start one (tiercel run), or give its --http address")}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return []Finding{found(Unknown, "%s/metrics answers %s: is that a tiercel?", e.HTTP, resp.Status)}
	}
	fs := append(judge(parseMetrics(resp.Body)), e.containerLosses(ctx)...)
	fs = append(fs, e.exemptProcesses(ctx)...)
	return append(fs, e.readiness(ctx)...)
}

// readiness says what /readyz waits for.
func (e *Env) readiness(ctx context.Context) []Finding {
	resp, err := e.get(ctx, "/readyz")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return []Finding{found(OK, "ready")}
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return []Finding{found(Action, "not ready: %s", strings.Join(strings.Split(strings.TrimSpace(string(b)), "\n"), "; "))}
}

// A loss is a counter that should stay at zero, and what it means.
type loss struct{ metric, text, hint string }

var losses = []loss{
	{"tiercel_sensor_records_lost_total", "records lost on their way out of the kernel", "raise --ring-bytes or --process-ring-bytes, or watch less; which containers lost them stands below"},
	{"tiercel_sensor_records_undecoded_total", "records that could not be decoded", "report this: program and BPF object do not fit"},
	{"tiercel_sensor_filter_unsound_total", "events that the kernel filter would have dropped and that matched", "report this with the lines of the log that begin so: they name the rules"},
	{"tiercel_sensor_matches_throttled_total", "matches held back: a rule runs away with a target", "narrow that rule; the events \"Tiercel internal: rule throttled\" name it"},
	{"tiercel_sensor_matches_unpublished_total", "matches that never reached the bus", "see the log for why"},
	{"tiercel_bus_spool_messages_lost_total", "matches that the spool lost", "raise --spool-size if it was full, look at the disk if it is damaged"},
	{"tiercel_bus_spool_errors_total", "failures of the spool's disk", "is it full, or read-only?"},
}

// judge says what the figures of a sensor mean.
func judge(all []sample) []Finding {
	var fs []Finding
	byName := map[string][]sample{}
	for _, s := range all {
		byName[s.name] = append(byName[s.name], s)
	}
	rings := byName["tiercel_sensor_ring_size_bytes"]
	if len(rings) == 0 {
		return []Finding{found(Note, "this tiercel runs no sensor, or has not attached it yet")}
	}
	fs = append(fs, found(OK, "rings: %s", ringSizes(rings, byName["tiercel_sensor_ring_used_bytes"])))
	fs = append(fs, judgeBackend(byName["tiercel_sensor_backend"])...)
	fs = append(fs, judgeFilter(byName)...)
	fs = append(fs, judgeExempt(byName["tiercel_sensor_exempt_refused_total"])...)
	fs = append(fs, judgeRules(byName["tiercel_sensor_rules_enabled"], byName["tiercel_sensor_rules_stale"])...)
	before := len(fs)
	for _, l := range losses {
		if text := nonZero(byName[l.metric]); text != "" {
			fs = append(fs, found(Action, "%s since the start: %s", l.text, text).hint(l.hint))
		}
	}
	for _, s := range byName["tiercel_sensor_output_alerts_total"] {
		if r := s.labels["result"]; s.value > 0 && r != "written" {
			fs = append(fs, found(Action, "output %s: %.0f alerts %s since the start", s.labels["output"], s.value, r).hint("is what it writes to there, and quick enough? The log says \"output failed\" with the reason"))
		}
	}
	if w := byName["tiercel_bus_spool_messages"]; len(w) > 0 && w[0].value > 1000 {
		fs = append(fs, found(Action, "%.0f matches wait in the spool", w[0].value).hint("the bus is out of reach or refuses: see the check \"bus\""))
	}
	if len(fs) == before {
		fs = append(fs, found(OK, "nothing was lost or held back since the start"))
	}
	return fs
}

// judgeRules says how many rules run, and whether they are those of the files.
func judgeRules(enabled, stale []sample) []Finding {
	var fs []Finding
	if len(enabled) > 0 && enabled[0].value == 0 {
		fs = append(fs, found(Action, "no rule for system calls is enabled: nothing is watched").
			hint("look at --rules, --priority and ruleSelection; tiercel rule list FILE… lists what files have"))
	} else if len(enabled) > 0 {
		fs = append(fs, found(OK, "%.0f rules for system calls are enabled", enabled[0].value))
	}
	if len(stale) > 0 && stale[0].value != 0 {
		fs = append(fs, found(Action, "the rules files have an error: the rules from before run on").
			hint("tiercel rule check FILE… says where it is, as the log does with \"rules error\""))
	}
	return fs
}

// ringSizes says how large the rings are, and how full.
func ringSizes(rings, used []sample) string {
	var out []string
	for _, s := range rings {
		text := fmt.Sprintf("%s %.0f KiB", s.labels["ring"], s.value/1024)
		for _, u := range used {
			if u.labels["ring"] == s.labels["ring"] && s.value > 0 {
				text += fmt.Sprintf(" (%.0f %% full)", 100*u.value/s.value)
			}
		}
		out = append(out, text)
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}

// nonZero lists the samples that are not zero.
func nonZero(samples []sample) string {
	var parts []string
	for _, s := range samples {
		if s.value == 0 {
			continue
		}
		var labels []string
		for k, v := range s.labels {
			labels = append(labels, k+" "+v)
		}
		sort.Strings(labels)
		part := fmt.Sprintf("%.0f", s.value)
		if len(labels) > 0 {
			part += " (" + strings.Join(labels, ", ") + ")"
		}
		parts = append(parts, part)
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}

// checkBus says whether NATS with JetStream is there, and how full it is.
func checkBus(ctx context.Context, e *Env) []Finding {
	b, err := e.Connect.Connect(ctx)
	if err != nil {
		f := found(Unknown, "%v", err)
		if e.Connect.Server() != "" {
			f.Status = Action
		}
		if ce, ok := errors.AsType[*cli.Error](err); ok {
			f.Hint = ce.Hint
		}
		return []Finding{f}
	}
	defer b.Close()
	fs := []Finding{found(OK, "NATS answers at %s", b.URL())}
	info, err := b.JetStream().AccountInfo(ctx)
	if err != nil {
		return append(fs, found(Action, "JetStream does not answer: %v", err).hint("enable JetStream on the server, and let this user ask $JS.API.INFO"))
	}
	if info.Limits.MaxStore <= 0 {
		return append(fs, found(OK, "JetStream: %d streams, %d MiB, no limit", info.Streams, info.Store>>20))
	}
	f := found(OK, "JetStream: %d streams, %d of %d MiB", info.Streams, info.Store>>20, info.Limits.MaxStore>>20)
	if info.Store > uint64(info.Limits.MaxStore)/10*9 {
		f.Status, f.Hint = Action, "raise the server's limit, or lower maxBytes of some streams"
	}
	return append(fs, f)
}
