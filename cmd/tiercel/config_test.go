package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestApplyConfig(t *testing.T) {
	tests := []struct {
		name, yaml string
		env        map[string]string
		args       []string
		wantURL    string
		wantRules  []string
		wantExtra  string
		wantErr    string
	}{
		{name: "empty file", yaml: ""},
		{name: "file", yaml: "httpOutput: http://a\nrules: [x.yaml, y.yaml]\n", wantURL: "http://a", wantRules: []string{"x.yaml", "y.yaml"}},
		{name: "scalar for a list", yaml: "rules: x.yaml\n", wantRules: []string{"x.yaml"}},
		{name: "environment over file", yaml: "httpOutput: http://a\n", env: map[string]string{"TIERCEL_HTTP_OUTPUT": "http://b"}, wantURL: "http://b"},
		{
			name: "flag over environment", yaml: "httpOutput: http://a\n", env: map[string]string{"TIERCEL_HTTP_OUTPUT": "http://b"},
			args: []string{"--http-output", "http://c"}, wantURL: "http://c",
		},
		{name: "nested key", yaml: "special: {level: 7}\n", wantExtra: "7"},
		{name: "unknown nested key", yaml: "special:\n  level: 7\n  levels: 8\n", wantErr: `FILE:3: unknown key "levels"`},
		{name: "nested value of another type", yaml: "special: {level: 7}\nother: x\n", wantErr: `FILE:2: "x" where a whole number is expected`},
		{name: "time without unit", yaml: "wait: 60\n", wantErr: `FILE:1: "60" where a time such as 30s is expected`},
		{name: "list for a mapping", yaml: "special: [level]\n", wantErr: "FILE:1: a list where a mapping (key: value) is expected"},
		{name: "unknown key", yaml: "httpOutput: a\nhttpOutputs: b\n", wantErr: `FILE:2:1: unknown key "httpOutputs" (did you mean "httpOutput"?)`},
		{name: "flag spelling", yaml: "http-output: a\n", wantErr: `FILE:1:1: unknown key "http-output" (did you mean "httpOutput"?)`},
		{name: "list for a scalar", yaml: "httpOutput: [a]\n", wantErr: "FILE:1:13: httpOutput: one value expected, not a list"},
		{name: "no mapping", yaml: "- a\n", wantErr: "FILE:1:1: configuration is no mapping"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(tt.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			cmd := &cobra.Command{Use: "x"}
			cmd.Flags().String("config", file, "")
			url := cmd.Flags().String("http-output", "", "")
			rules := cmd.Flags().StringArray("rules", nil, "")
			if err := cmd.ParseFlags(tt.args); err != nil {
				t.Fatal(err)
			}
			var nested struct {
				Special struct {
					Level string `yaml:"level"`
				} `yaml:"special"`
				Other int           `yaml:"other"`
				Wait  time.Duration `yaml:"wait"`
			}
			_, err := applyConfig(cmd, &nested)
			gotErr := ""
			if err != nil {
				gotErr = err.Error()
			}
			if want := replaceFile(tt.wantErr, file); gotErr != want {
				t.Fatalf("error %q, want %q", gotErr, want)
			}
			if tt.wantErr != "" {
				return
			}
			if *url != tt.wantURL || nested.Special.Level != tt.wantExtra {
				t.Errorf("got %q and %q, want %q and %q", *url, nested.Special.Level, tt.wantURL, tt.wantExtra)
			}
			if diff := cmp.Diff(tt.wantRules, *rules); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlaces: a value that is out of its range is reported where it was given, on the command line, in the environment, or in the file.
func TestPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tiercel.yaml")
	const text = "output: xml\nlogLevel: loud\nhttp: nowhere\nnode: A/B\nnatsPort: 70000\nringBytes: 3Mi\nthrottle: {rate: 5, burst: 0}\n" +
		"recorder:\n  rate: 0\n  events:\n  - execve\n  - opne\nstreams: {maxBytes: {EVNTS: 1}}\nruntimeSockets:\n- dokcer:/x\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TIERCEL_LOG_LEVEL", "quiet")
	cfg := defaultDaemonConfig()
	cmd := &cobra.Command{Use: "sensor"}
	cfg.addFlags(cmd.Flags(), partSensor)
	if err := cmd.ParseFlags([]string{"--config", file, "--http", "8765", "--spool-size", "12"}); err != nil {
		t.Fatal(err)
	}
	from, err := applyConfig(cmd, &cfg.nested)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, err := range flatten(from.locate(cfg.Validate())) {
		got = append(got, err.Error())
	}
	want := []string{
		file + `:1:9: output: "xml" is none of text, json`,
		`environment TIERCEL_LOG_LEVEL: "quiet" is none of debug, info, warn, error`,
		file + `:4:7: node: "A/B" is no Kubernetes name: lower-case letters, digits, - and . alone`,
		file + ":5:11: natsPort: 70000 is not in 0 to 65535",
		file + ":9:9: recorder.rate: 0 is not positive",
		file + `:12:5: recorder.events[1]: "opne" is no event type (did you mean "open"?)`,
		"--http: address 8765: missing port in address",
		`--spool-size: "12" is 12 bytes, and 1Mi the least`,
		file + ":7:28: throttle.burst: 0 is not in 1 to 1000000",
		file + ":6:12: ringBytes: 3145728 is not a power of two from 65536 to 1073741824",
		file + `:15:3: runtimeSockets[0]: "dokcer:/x": the kind is none of docker, podman, cri`,
		file + `:13:10: streams: maxBytes: "EVNTS" is none of EVENTS, JOURNAL, ACTIONS, TIMERS, OUTCOMES, DEADLETTER, tiercel_functions, ` +
			"tiercel_state, tiercel_kv, tiercel_modules, tiercel_artifacts, tiercel_bodies",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func replaceFile(s, file string) string {
	if len(s) > 4 && s[:4] == "FILE" {
		return file + s[4:]
	}
	return s
}
