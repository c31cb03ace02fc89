package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
)

func TestStrays(t *testing.T) {
	got := strays([]string{
		"HOME=/root", "TIERCEL_NATS=x", "TIERCEL_SPOOL_SIZE=1Mi", "TIERCEL_FUNCTIONS=f", "TIERCEL_CONFIG=c", "TIERCELX=1",
		"TIERCEL_SPOL_SIZE=1Mi", "TIERCEL_RECORDER=off", "TIERCEL_=",
		"TIERCEL_CONFORMANCE=/x", "TIERCEL_TEST_SLOWER=10",
		"TIERCEL_SERVICE_HOST=10.0.0.1", "TIERCEL_SERVICE_PORT=4222", "TIERCEL_SERVICE_PORT_CLIENT=4222", "TIERCEL_PORT=tcp://10.0.0.1:4222",
		"TIERCEL_PORT_4222_TCP_ADDR=10.0.0.1", "TIERCEL_NATS_SERVICE_HOST=10.0.0.2", "TIERCEL_NATS_PORT_4222_TCP=tcp://10.0.0.2:4222",
		"TIERCEL_OTHER_SERVICE_PORT=1",
	})
	want := []stray{
		{"TIERCEL_", ""}, {"TIERCEL_OTHER_SERVICE_PORT", ""}, {"TIERCEL_RECORDER", ""}, {"TIERCEL_SPOL_SIZE", "TIERCEL_SPOOL_SIZE"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(stray{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestVariables: what our own code, tests and builds read or set is a setting, or known to be none.
func TestVariables(t *testing.T) {
	used := regexp.MustCompile(`(?:[eE]nv\("|^|[\s"'{])(TIERCEL_[A-Z0-9_]*)(?:"\)|", |=)`)
	var environ []string
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // other tests make files and remove them
			return nil
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); strings.HasPrefix(name, ".") && strings.Trim(name, ".") != "" && name != ".ci" {
				return fs.SkipDir
			}
			return nil
		}
		name, ext := filepath.Base(path), filepath.Ext(path)
		if name == "environment_test.go" || name == "codes.go" || ext != ".go" && ext != ".sh" && name != "Makefile" && filepath.Base(filepath.Dir(path)) != ".ci" {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || !bytes.Contains(data, []byte(envPrefix)) {
			return nil
		}
		for _, m := range used.FindAllSubmatch(data, -1) {
			environ = append(environ, string(m[1])+"=x")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(environ) < 20 {
		t.Errorf("only %d are found: %v", len(environ), environ)
	}
	for _, v := range strays(environ) {
		t.Errorf("%s is no setting, and not among notSettings", v.name)
	}
}

// TestServiceLink: Kubernetes gives pods variables about Services; TIERCEL_NATS_PORT of a Service tiercel-nats is not --nats-port.
func TestServiceLink(t *testing.T) {
	t.Setenv("TIERCEL_NATS_PORT", "tcp://10.0.0.2:4222")
	apply := func() (int, error) {
		cfg := defaultDaemonConfig()
		cmd := &cobra.Command{Use: "sensor"}
		cfg.addFlags(cmd.Flags(), partSensor)
		_, err := applyConfig(cmd, &cfg.nested)
		return cfg.NATSPort, err
	}
	if _, err := apply(); err == nil || !strings.Contains(err.Error(), "TIERCEL_NATS_PORT") {
		t.Errorf("without a Service: got %v", err)
	}
	t.Setenv("TIERCEL_NATS_SERVICE_HOST", "10.0.0.2")
	if port, err := apply(); err != nil || port != 0 {
		t.Errorf("with a Service: got %d, %v", port, err)
	}
}

// TestConfigOfEnvironment: the file of TIERCEL_CONFIG is read.
func TestConfigOfEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tiercel.yaml")
	if err := os.WriteFile(file, []byte("node: n1\nrecorder: {totalBytes: 32Mi}\nstreams:\n  maxBytes: {EVENTS: 2Gi}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TIERCEL_CONFIG", file)
	cfg := defaultDaemonConfig()
	cmd := &cobra.Command{Use: "sensor"}
	cfg.addFlags(cmd.Flags(), partSensor)
	if _, err := applyConfig(cmd, &cfg.nested); err != nil {
		t.Fatal(err)
	}
	if n := cfg.nested; cfg.Node != "n1" || n.Recorder.TotalBytes != 32<<20 || n.Streams.MaxBytes["EVENTS"] != 2<<30 {
		t.Errorf("got node %q, %v, %v", cfg.Node, n.Recorder.TotalBytes, n.Streams.MaxBytes)
	}
}

// TestStrayWarning: a misspelt variable is warned of, by a command that would look for it and by the daemons.
func TestStrayWarning(t *testing.T) {
	t.Setenv("TIERCEL_NAST", "nats://127.0.0.1:1")
	var out, errs bytes.Buffer
	streams := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	const want = "warning: environment variable TIERCEL_NAST is no setting (did you mean TIERCEL_NATS?)\n"
	run(t.Context(), []string{"event", "tail", "--data", t.TempDir()}, streams)
	if got := errs.String(); strings.Count(got, want) != 1 {
		t.Errorf("got %q, want %q", got, want)
	}
	errs.Reset()
	run(t.Context(), []string{"runtime", "--nats", "nats://127.0.0.1:1", "--rules", "/nowhere"}, streams)
	if got := errs.String(); strings.Count(got, "name=TIERCEL_NAST nearest=TIERCEL_NATS") != 1 {
		t.Errorf("got %q", got)
	}
	errs.Reset()
	run(t.Context(), []string{"version"}, streams)
	if got := errs.String(); got != "" {
		t.Errorf("version: got %q", got)
	}
}
