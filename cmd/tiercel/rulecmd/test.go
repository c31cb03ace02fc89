package rulecmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/capture"
)

// testHost is the hostname of alerts of `rule test`, so that they are the same everywhere.
const testHost = "test"

func (c *command) test() *cobra.Command {
	var format cli.Format
	var paths []string
	var matching, expect string
	cmd := &cobra.Command{
		Use:   "test -r RULES… EVENTS…",
		Short: "Match recorded events against rules",
		Long: "Match recorded events against rules and print an alert, as Falco's JSON, for each match.\n\n" +
			"EVENTS is a capture that tiercel sensor record made, or a file, or - for the standard input, of audit JSON as the API server sends or\n" +
			"logs it, or of system calls, one a line:\n\n" +
			`  {"type":"openat","time":"2026-01-02T03:04:05Z","fields":{"proc.name":"cat","fd.name":"/etc/shadow","evt.is_open_read":true}}` + "\n\n" +
			"A field that is missing has no value; \"resolved\" beside \"fields\" has the other form of paths. With --expect the alerts are compared\n" +
			"with those in FILE, one JSON object a line: of an expected alert only the keys that are written count.",
		Example: "  tiercel rule test -r my_rules.yaml events.jsonl --expect alerts.jsonl",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			opts := rules.Options{Hostname: testHost}
			switch matching {
			case "all":
				opts.Matching = rules.All
			case "first":
			default:
				return cli.Usagef("--matching is %q, want first or all", matching)
			}
			alerts, err := c.matchFiles(paths, args, opts)
			if err != nil {
				return err
			}
			if expect != "" {
				return c.compare(alerts, expect)
			}
			return c.printAlerts(alerts, format)
		},
	}
	format.Flag(cmd, cli.JSON, cli.Table)
	cmd.Flags().StringArrayVarP(&paths, "rules", "r", nil, "rules file or directory, may be repeated; default the embedded rules")
	cmd.Flags().StringVar(&matching, "matching", "first", "rules that may match one event: first, all")
	cmd.Flags().StringVar(&expect, "expect", "", "file with the alerts that are expected; differences end with exit code 1")
	return cmd
}

// matchFiles matches the events recorded in files against rules.
func (c *command) matchFiles(rulePaths, eventPaths []string, opts rules.Options) ([]*rules.Alert, error) {
	set, err := c.load(rulePaths, opts)
	if err != nil {
		return nil, err
	}
	m := set.NewMatcher()
	var alerts []*rules.Alert
	var hits []*rules.Rule
	for _, path := range eventPaths {
		if isCapture(path) {
			replay := sensor.Replay{
				Rules: func(capture.Header) (*rules.Set, error) { return set, nil },
				Alert: func(a *rules.Alert) { alerts = append(alerts, a) },
			}
			if err := replay.Run(path); err != nil {
				return nil, err
			}
			continue
		}
		events, err := c.readEvents(path)
		if err != nil {
			return nil, err
		}
		for _, ev := range events {
			hits = m.Match(ev, hits[:0])
			for _, r := range hits {
				alerts = append(alerts, m.Alert(r, ev))
			}
		}
	}
	return alerts, nil
}

// isCapture reports whether path is a capture of kernel events.
func isCapture(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // reading it says why
	}
	defer f.Close()
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head)
	return capture.Is(head[:n])
}

func (c *command) printAlerts(alerts []*rules.Alert, format cli.Format) error {
	w := bufio.NewWriter(c.Out)
	for _, a := range alerts {
		line := a.AppendJSON(nil)
		if format == cli.Table {
			line = a.AppendText(nil)
		}
		fmt.Fprintf(w, "%s\n", line)
	}
	return w.Flush()
}

// compare prints what differs between alerts and those expected in the file.
func (c *command) compare(alerts []*rules.Alert, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read expected alerts: %w", err)
	}
	var want []map[string]any
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		var w map[string]any
		if err := json.Unmarshal(line, &w); err != nil {
			return fmt.Errorf("%s: expected alert %d: %w", path, len(want)+1, err)
		}
		want = append(want, w)
	}
	diff, err := diffAlerts(want, alerts)
	if err != nil {
		return err
	}
	if diff == "" {
		fmt.Fprintf(c.Out, "ok: %d alerts as expected\n", len(alerts))
		return nil
	}
	fmt.Fprintf(c.Out, "alerts (-expected +got):\n%s", diff)
	return cli.ErrSilent
}

// diffAlerts compares alerts with want one by one, and returns the differences, a line for each side.
func diffAlerts(want []map[string]any, alerts []*rules.Alert) (string, error) {
	var b strings.Builder
	for i := 0; i < max(len(want), len(alerts)); i++ {
		var got map[string]any
		if i < len(alerts) {
			if err := json.Unmarshal(alerts[i].AppendJSON(nil), &got); err != nil {
				return "", err
			}
		}
		switch {
		case i >= len(want):
			fmt.Fprintf(&b, "+ %s\n", alerts[i].AppendJSON(nil))
		case got == nil:
			fmt.Fprintf(&b, "- %s\n", compact(want[i]))
		case !includes(want[i], got):
			fmt.Fprintf(&b, "- %s\n+ %s\n", compact(want[i]), compact(only(got, want[i])))
		}
	}
	return b.String(), nil
}

// includes reports whether got has all that want has, at any depth of objects.
func includes(want, got any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(want, got)
	}
	g, ok := got.(map[string]any)
	if !ok {
		return false
	}
	for k, v := range w {
		if gv, ok := g[k]; !ok || !includes(v, gv) {
			return false
		}
	}
	return true
}

// only returns the part of got whose keys want has.
func only(got, want map[string]any) map[string]any {
	out := map[string]any{}
	for k := range want {
		v := got[k]
		w, ok := want[k].(map[string]any)
		if g, isMap := v.(map[string]any); ok && isMap {
			v = only(g, w)
		}
		out[k] = v
	}
	return out
}

func compact(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // it was JSON before
	return strings.TrimSpace(b.String())
}
