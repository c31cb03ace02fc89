package main

import (
	"strings"
	"testing"
	"time"
)

func TestDaemonConfigValidate(t *testing.T) {
	if err := defaultDaemonConfig().Validate(); err != nil {
		t.Fatalf("defaults: %v", err)
	}
	tests := []struct {
		name   string
		change func(*daemonConfig)
		want   []string // parts of the error
	}{
		{"output", func(c *daemonConfig) { c.Output = "xml" }, []string{`output: "xml" is none of text, json`}},
		{"log", func(c *daemonConfig) { c.LogLevel, c.LogFormat = "loud", "xml" }, []string{`logLevel: "loud"`, `logFormat: "xml"`}},
		{"identity", func(c *daemonConfig) { c.Identity = "root" }, []string{`kubeIdentity: "root"`}},
		{"matching", func(c *daemonConfig) { c.Matching = "best" }, []string{`ruleMatching: "best" is none of first, all`}},
		{"priority", func(c *daemonConfig) { c.MinPriority = "urgent" }, []string{"priority: "}},
		{"http", func(c *daemonConfig) { c.HTTP = "nowhere" }, []string{"http: "}},
		{"http output", func(c *daemonConfig) { c.HTTPOutput = "ftp://x/" }, []string{`httpOutput: "ftp://x/" is no http or https URL`}},
		{"http output without host", func(c *daemonConfig) { c.HTTPOutput = "http:///path" }, []string{"httpOutput: "}},
		{"spool size", func(c *daemonConfig) { c.SpoolSize = "4Ki" }, []string{"spoolSize: ", "1Mi"}},
		{"no spool size", func(c *daemonConfig) { c.SpoolSize = "much" }, []string{"spoolSize: "}},
		{"negative times", func(c *daemonConfig) { c.SpoolSync, c.NATSSync = -time.Second, -time.Second }, []string{"spoolSync: -1s", "natsSync: -1s"}},
		{"no time for names", func(c *daemonConfig) { c.IdentityTimeout = 0 }, []string{"identityTimeout: 0s"}},
		{"credentials without a server", func(c *daemonConfig) { c.Creds = "file" }, []string{"creds, ca, cert, key: only with nats"}},
		{"no data", func(c *daemonConfig) { c.Data = "" }, []string{"data: missing"}},
		{"rings", func(c *daemonConfig) { c.RingBytes, c.ProcessRing = "100000", "4Ki" }, []string{"ringBytes: 100000", "processRingBytes: 4096"}},
		{"no rings", func(c *daemonConfig) { c.RingBytes, c.ProcessRing = "much", "-1" }, []string{`ringBytes: "much"`, `processRingBytes: "-1"`}},
		{"sockets", func(c *daemonConfig) { c.nested.RuntimeSockets = []string{"/run/x.sock", "what:/x"} }, []string{"runtimeSockets["}},
		{"host root", func(c *daemonConfig) { c.HostRoot = "host" }, []string{`hostRoot: "host" is no absolute path`}},
		{"self socket", func(c *daemonConfig) { c.SelfSocket = "self.sock" }, []string{`selfSocket: "self.sock" is no absolute path`}},
		{"self users", func(c *daemonConfig) { c.SelfUsers = []string{"65532", "web"} }, []string{`selfUsers[1]: "web" is no user's number`}},
		{"root a self user", func(c *daemonConfig) { c.SelfUsers = []string{"0"} }, []string{"selfUsers[0]: root's runtimes may ask anyway"}},
		{"self users without a socket", func(c *daemonConfig) { c.SelfSocket, c.SelfUsers = "", []string{"65532"} }, []string{"selfUsers: only with selfSocket"}},
		{"several", func(c *daemonConfig) { c.Output, c.Data = "xml", "" }, []string{"output: ", "data: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := defaultDaemonConfig()
			tt.change(c)
			err := c.Validate()
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}
