package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/quantity"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/exempt"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/recorder"
)

// daemonConfig is the configuration of run, sensor and runtime. Each field but nested is a flag; docs/configuration.md explains them all.
type daemonConfig struct {
	Config      string   // file with the rest. Default none.
	Rules       []string // files and directories. Default the embedded rules.
	Data        string   // directory of the embedded server and caches. Default connect.DefaultDataDir().
	Functions   string   // file or directory of function documents. Default none.
	Kubeconfig  string   // default: the service account of the pod, if in one; otherwise no cluster
	Secrets     string   // directory of the files that functions' secrets are. Default none.
	Identity    string   // how functions are told apart by the API server: serviceAccount or impersonate
	Namespace   string   // of the functions' service accounts. Default "tiercel".
	Node        string   // name of this node. Default the host name.
	Cluster     string   // default "default"
	HTTP        string   // address of /metrics, /healthz and /readyz; empty: none. Default 127.0.0.1:8765.
	Output      string   // text or json
	HTTPOutput  string   // URL that each alert is posted to
	FileOutput  string   // file that each alert is appended to
	Syslog      bool     // each alert goes to the syslog daemon
	Program     string   // command that alerts are given to
	KeepAlive   bool     // one process of Program takes all alerts
	LogLevel    string   // debug, info, warn or error. Default info.
	LogFormat   string   // text or json. Default text.
	Matching    string   // first or all
	MinPriority string   // rules less urgent are left out. Default debug.

	HostRoot string // where the host's files are found. Default host.Find().

	RingBytes   string // size of the kernel's ring of what rules watch; 0: by memory. Default 0.
	ProcessRing string // that of its ring of processes and cgroups, likewise

	IdentityTimeout time.Duration // how long an event waits for the names of its container. Default 500ms.

	SpoolSize string        // of what waits on disk for the bus; 0: nothing does. Default 256Mi.
	SpoolSync time.Duration // how old it may be before it is synced. Default 1s.

	SelfSocket string   // at which runtimes ask the sensor of their machine to be exempt; empty: none. Default for root exempt.DefaultSocket.
	SelfUsers  []string // ids of those whose runtimes may ask besides the sensor's own user's. Default none.

	NATS, Creds, CA, Cert, Key string
	NATSPort                   int           // of the embedded server's loopback listener; 0: a free one
	NATSSync                   time.Duration // how often the embedded server syncs its files; 0: before each acknowledgement

	nested nestedConfig
}

// nestedConfig are the keys of the configuration file that are no flags.
type nestedConfig struct {
	RuleSelection  []rules.Selection    `yaml:"ruleSelection"`
	AppendOutput   []rules.AppendOutput `yaml:"appendOutput"` // default: the suggested fields, as Falco's own configuration has it
	StaticFields   map[string]string    `yaml:"staticFields"`
	RuntimeSockets []string             `yaml:"runtimeSockets"` // of container runtimes. Default container.DefaultSockets().
	Recorder       recorder.Config      `yaml:"recorder"`       // the flight recorder
	Throttle       throttleConfig       `yaml:"throttle"`
	Streams        bus.Limits           `yaml:"streams"`
	Runtime        runtime.Config       `yaml:"runtime"`
}

// throttleConfig bounds the matches that one rule makes of one target.
type throttleConfig struct {
	Rate  int `yaml:"rate"`  // a second, in the long run; 0: any number. Default 100.
	Burst int `yaml:"burst"` // at once. Default 2000.
}

func defaultDaemonConfig() *daemonConfig {
	c := &daemonConfig{
		Data: connect.DefaultDataDir(), Cluster: "default", HTTP: "127.0.0.1:8765", Output: "text", LogLevel: "info", LogFormat: "text", Matching: "first",
		MinPriority: "debug", Identity: string(capability.ServiceAccount), Namespace: "tiercel",
		nested: nestedConfig{
			AppendOutput: []rules.AppendOutput{{SuggestedOutput: true}}, RuntimeSockets: container.DefaultSockets(), Runtime: runtime.DefaultConfig(),
			Recorder: recorder.DefaultConfig(),
			Throttle: throttleConfig{Rate: sensor.DefaultConfig().ThrottleRate, Burst: sensor.DefaultConfig().ThrottleBurst},
		},
		NATSSync:        time.Second,
		IdentityTimeout: sensor.DefaultConfig().IdentityTimeout,
		RingBytes:       "0", ProcessRing: "0", SpoolSize: "256Mi", SpoolSync: time.Second,
	}
	if os.Geteuid() == 0 {
		c.SelfSocket = exempt.DefaultSocket
	}
	return c
}

// addFlags adds the flags that the parts have.
func (c *daemonConfig) addFlags(f *pflag.FlagSet, parts part) {
	f.StringVar(&c.Config, "config", c.Config, "YAML file with these flags in camel case (httpOutput), and more; the command line wins")
	f.StringVar(&c.Data, "data", c.Data, "directory of the embedded NATS server and of caches")
	f.StringVar(&c.Node, "node", c.Node, "name of this node (default the host name)")
	f.StringVar(&c.Cluster, "cluster", c.Cluster, "name of the cluster in events")
	f.StringVar(&c.HTTP, "http", c.HTTP, "address of /metrics, /healthz and /readyz; empty for none")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "text or json; logs go to standard error")
	f.StringVar(&c.Output, "output", c.Output, "what standard output carries: text or json, one line each")
	f.StringArrayVar(&c.Rules, "rules", c.Rules, "rules file or directory, may be repeated (default the embedded rules)")
	f.StringVar(&c.NATS, "nats", c.NATS, "URL of a NATS server to use instead of the embedded one")
	f.StringVar(&c.Creds, "creds", c.Creds, "credentials file for --nats: .creds or nkey seed")
	f.StringVar(&c.CA, "ca", c.CA, "PEM file of the authorities that signed the certificate of --nats")
	f.StringVar(&c.Cert, "cert", c.Cert, "client certificate for --nats, PEM file")
	f.StringVar(&c.Key, "key", c.Key, "key of --cert, PEM file")
	f.IntVar(&c.NATSPort, "nats-port", c.NATSPort, "loopback port of the embedded NATS server; 0 for a free one")
	f.DurationVar(&c.NATSSync, "nats-sync", c.NATSSync, "how often the embedded server syncs its files; 0 syncs before each acknowledgement")
	f.StringVar(&c.SelfSocket, "self-socket", c.SelfSocket, "unix socket at which a runtime asks the sensor of its machine to be exempt from rules; empty for none")
	f.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "kubeconfig of the cluster to act on (default that of the pod, if in one)")
	if parts&partSensor != 0 {
		f.StringSliceVar(&c.SelfUsers, "self-users", c.SelfUsers, "ids of users besides root whose runtimes, in containers, may ask at --self-socket")
		f.StringVar(&c.HostRoot, "host-root", c.HostRoot, "where a sensor in a container finds the host's files (default /proc/1/root, with the host's pids)")
		f.StringVar(&c.HTTPOutput, "http-output", c.HTTPOutput, "URL that each alert is posted to as JSON")
		f.StringVar(&c.FileOutput, "file-output", c.FileOutput, "file that each alert is appended to; SIGUSR1 reopens it")
		f.StringVar(&c.RingBytes, "ring-bytes", c.RingBytes, "size of the kernel's ring of what rules watch, a power of two such as 16Mi; 0 for one by memory")
		f.StringVar(&c.ProcessRing, "process-ring-bytes", c.ProcessRing, "size of the kernel's ring of processes and cgroups, as --ring-bytes")
		f.DurationVar(&c.IdentityTimeout, "identity-timeout", c.IdentityTimeout, "how long an event waits for the names of its container, at most 10s")
		f.StringVar(&c.SpoolSize, "spool-size", c.SpoolSize, "how much may wait on disk, in --data, while the bus is out of reach; 0 for memory alone")
		f.DurationVar(&c.SpoolSync, "spool-sync", c.SpoolSync, "how old what waits may be before it is synced to the disk; 0 syncs before sending")
		f.BoolVar(&c.Syslog, "syslog-output", c.Syslog, "send each alert to the syslog daemon of this machine")
		f.StringVar(&c.Program, "program-output", c.Program, "command for /bin/sh that gets each alert on its standard input")
		f.BoolVar(&c.KeepAlive, "program-keep-alive", c.KeepAlive, "one process of --program-output takes all alerts, a line each")
		f.StringVar(&c.Matching, "rule-matching", c.Matching, "first or all: how many rules may match one event")
		f.StringVar(&c.MinPriority, "priority", c.MinPriority, "rules less urgent than this are left out")
	}
	if parts&partRuntime != 0 {
		f.StringVar(&c.Functions, "functions", c.Functions, "file or directory of function documents, watched")
		f.StringVar(&c.Secrets, "secrets", c.Secrets, "directory of the secrets that functions may use: a file, or a directory of files, for each")
		f.StringVar(&c.Identity, "kube-identity", c.Identity, "serviceAccount or impersonate: how functions act on the cluster as themselves")
		f.StringVar(&c.Namespace, "kube-namespace", c.Namespace, "namespace of the functions' service accounts and secrets")
	}
}

// rings returns the sizes of the kernel's rings in bytes.
func (c *daemonConfig) rings() (event, process int, err error) {
	e, err1 := quantity.ParseSize(c.RingBytes)
	p, err2 := quantity.ParseSize(c.ProcessRing)
	if err1 != nil {
		err1 = fmt.Errorf("ringBytes: %w", err1)
	}
	if err2 != nil {
		err2 = fmt.Errorf("processRingBytes: %w", err2)
	}
	return int(e), int(p), errors.Join(err1, err2, kernel.Config{RingBytes: int(e), ProcessRingBytes: int(p)}.Validate())
}

// Validate reports every value that is out of its range, by key. It does no I/O.
func (c *daemonConfig) Validate() error {
	var errs []error
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			errs = append(errs, fmt.Errorf("%s: %q is none of %s", key, value, strings.Join(allowed, ", ")))
		}
	}
	oneOf("output", c.Output, "text", "json")
	oneOf("logLevel", c.LogLevel, "debug", "info", "warn", "error")
	oneOf("logFormat", c.LogFormat, "text", "json")
	oneOf("kubeIdentity", c.Identity, string(capability.ServiceAccount), string(capability.Impersonate))
	oneOf("ruleMatching", c.Matching, "first", "all")
	if _, err := rules.ParsePriority(c.MinPriority); err != nil {
		errs = append(errs, fmt.Errorf("priority: %w: emergency, alert, critical, error, warning, notice, informational or debug", err))
	}
	if c.Node != "" && bus.NodeToken(c.Node) == bus.InvalidToken {
		errs = append(errs, fmt.Errorf("node: %q is no Kubernetes name: lower-case letters, digits, - and . alone", c.Node))
	}
	if c.NATSPort < 0 || c.NATSPort > 65535 {
		errs = append(errs, fmt.Errorf("natsPort: %d is not in 0 to 65535", c.NATSPort))
	}
	if r := c.nested.Recorder; !r.Off {
		if err := r.Validate(); err != nil {
			for _, err := range flatten(err) {
				errs = append(errs, fmt.Errorf("recorder.%w", err))
			}
		}
	}
	if c.HTTP != "" {
		if _, _, err := net.SplitHostPort(c.HTTP); err != nil {
			errs = append(errs, fmt.Errorf("http: %w", err))
		}
	}
	if c.HTTPOutput != "" {
		if u, err := url.Parse(c.HTTPOutput); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("httpOutput: %q is no http or https URL", c.HTTPOutput))
		}
	}
	if n, err := quantity.ParseSize(c.SpoolSize); err != nil {
		errs = append(errs, fmt.Errorf("spoolSize: %w", err))
	} else if n != 0 && n < 1<<20 {
		errs = append(errs, fmt.Errorf("spoolSize: %q is %d bytes, and 1Mi the least", c.SpoolSize, int64(n)))
	}
	if t := c.nested.Throttle; t.Rate < 0 || t.Rate > 1e6 {
		errs = append(errs, fmt.Errorf("throttle.rate: %d is not in 0 to 1000000", t.Rate))
	}
	if t := c.nested.Throttle; t.Burst < 1 || t.Burst > 1e6 {
		errs = append(errs, fmt.Errorf("throttle.burst: %d is not in 1 to 1000000", t.Burst))
	}
	if _, _, err := c.rings(); err != nil {
		errs = append(errs, err)
	}
	if d := c.IdentityTimeout; d <= 0 || d > 10*time.Second {
		errs = append(errs, fmt.Errorf("identityTimeout: %v is not in 1ns to 10s", d))
	}
	if c.SpoolSync < 0 {
		errs = append(errs, fmt.Errorf("spoolSync: %v is negative", c.SpoolSync))
	}
	if c.SelfSocket != "" {
		if err := exempt.ValidatePath(c.SelfSocket); err != nil {
			errs = append(errs, fmt.Errorf("selfSocket: %w", err))
		}
	}
	if _, err := c.selfUsers(); err != nil {
		errs = append(errs, err)
	}
	if len(c.SelfUsers) > 0 && c.SelfSocket == "" {
		errs = append(errs, errors.New("selfUsers: only with selfSocket"))
	}
	if c.NATS == "" && (c.Creds != "" || c.CA != "" || c.Cert != "" || c.Key != "") {
		errs = append(errs, errors.New("creds, ca, cert, key: only with nats"))
	}
	if c.KeepAlive && c.Program == "" {
		errs = append(errs, errors.New("programKeepAlive: only with programOutput"))
	}
	if c.HostRoot != "" && !filepath.IsAbs(c.HostRoot) {
		errs = append(errs, fmt.Errorf("hostRoot: %q is no absolute path", c.HostRoot))
	}
	if c.Data == "" {
		errs = append(errs, errors.New("data: missing"))
	}
	for i, s := range c.nested.RuntimeSockets {
		if _, err := container.ParseSocket(s); err != nil {
			errs = append(errs, fmt.Errorf("runtimeSockets[%d]: %w", i, err))
		}
	}
	if c.NATSSync < 0 {
		errs = append(errs, fmt.Errorf("natsSync: %v is negative", c.NATSSync))
	}
	if err := c.nested.Streams.Validate(); err != nil {
		errs = append(errs, err) // begins with "streams: "
	}
	if err := c.nested.Runtime.Validate(); err != nil {
		for _, err := range flatten(err) {
			errs = append(errs, fmt.Errorf("runtime.%w", err))
		}
	}
	return errors.Join(errs...)
}

// logLevel returns LogLevel, which Validate has checked.
func (c *daemonConfig) logLevel() slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(c.LogLevel))
	return l
}

// selfUsers are the ids in SelfUsers.
func (c *daemonConfig) selfUsers() ([]uint32, error) {
	var ids []uint32
	for i, text := range c.SelfUsers {
		id, err := strconv.ParseUint(text, 10, 32)
		switch {
		case err != nil || id == 1<<32-1: // which the kernel takes for no user
			return nil, fmt.Errorf("selfUsers[%d]: %q is no user's number, as id -u prints it", i, text)
		case id == 0:
			return nil, fmt.Errorf("selfUsers[%d]: root's runtimes may ask anyway; only other users are listed", i)
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
