package main

import (
	"os"
	"path/filepath"
	"testing"

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
		{name: "nested value of another type", yaml: "special: {level: 7}\nother: x\n", wantErr: "FILE:2: cannot unmarshal !!str `x` into int"},
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
			url := cmd.Flags().String("http-output", "", "")
			rules := cmd.Flags().StringArray("rules", nil, "")
			if err := cmd.ParseFlags(tt.args); err != nil {
				t.Fatal(err)
			}
			var nested struct {
				Special struct {
					Level string `yaml:"level"`
				} `yaml:"special"`
				Other int `yaml:"other"`
			}
			err := applyConfig(cmd, file, &nested)
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

func replaceFile(s, file string) string {
	if len(s) > 4 && s[:4] == "FILE" {
		return file + s[4:]
	}
	return s
}
