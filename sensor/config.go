package sensor

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/spool"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/exempt"
	"github.com/tiercel-project/tiercel/sensor/host"
	"github.com/tiercel-project/tiercel/sensor/output"
	"github.com/tiercel-project/tiercel/sensor/process"
	"github.com/tiercel-project/tiercel/sensor/recorder"
)

// A Config configures a Sensor. Take DefaultConfig and change what is different.
type Config struct {
	// Node is the node's name: in a cluster the Kubernetes one. Default: bus.NodeName of the host's name.
	Node string
	// Cluster is the cluster's name, the first part of an event's source. May be empty.
	Cluster string
	// Hostname is what events call the host. Default: the kernel's.
	Hostname string

	// Format of the lines on Deps.Stdout and in FileOutput. Default output.Text.
	Format output.Format
	// FileOutput is a file that alerts are appended to. Default: none.
	FileOutput string
	// HTTPOutput is an URL that alerts are posted to as JSON. Default: none.
	HTTPOutput string
	// HTTPTimeout bounds one request of HTTPOutput. Positive. Default 5s.
	HTTPTimeout time.Duration
	// SyslogOutput has alerts sent to the syslog daemon of this machine. SyslogSocket is where it listens; default: the usual places.
	SyslogOutput bool
	SyslogSocket string
	// ProgramOutput is a command line for /bin/sh that alerts are given to: one process takes them all with ProgramKeepAlive, otherwise each has
	// its own. Default: none.
	ProgramOutput    string
	ProgramKeepAlive bool
	// OutputQueue is how many alerts may wait for each output. Positive. Default 4096.
	OutputQueue int

	// ThrottleRate is how many matches a second one rule may make of one container, or cgroup of the host, in the long run; 0: any number.
	// ThrottleBurst is how many may come at once. Not negative. Default 100 and 2000.
	ThrottleRate, ThrottleBurst int

	// RingBytes and ProcessRingBytes size the kernel's rings, as kernel.Config has them. Default 0: by memory.
	RingBytes, ProcessRingBytes int

	// SelfSocket is where other processes of Tiercel on this machine ask to be exempt as the sensor is: the name of a unix socket. Default: none.
	SelfSocket string
	// SelfUsers are the users whose processes may ask there, besides the sensor's own user's, if they are the first of a container. Default: none.
	SelfUsers []uint32

	// Recorder is the flight recorder. Default recorder.DefaultConfig().
	Recorder recorder.Config

	// Processes is how many processes are remembered, ended ones included. Positive. Default 131072.
	Processes int
	// Retention is how long an ended process is remembered at least. Positive. Default 30s.
	Retention time.Duration

	// IdentityTimeout is how long an event waits for the names of its container. Positive, at most 10s. Default 500ms.
	IdentityTimeout time.Duration
	// Waiting is how many events may wait for that. Positive. Default 4096.
	Waiting int
	// RuntimeSockets are the sockets of container runtimes to ask, "docker:PATH", "podman:PATH" or "cri:PATH". Default: the usual places.
	RuntimeSockets []string

	// HostRoot is where the host's files are found: its users, the sockets of container runtimes, the root of the cgroups. Default: host.Find.
	HostRoot host.Root

	// BufferEvents and BufferBytes bound what is kept in memory while the bus is out of reach. Positive. Default 65536 and 64 MiB.
	BufferEvents, BufferBytes int
	// Spool is the directory in which matches are kept until the bus has them; empty: they are kept in memory alone. Default none.
	Spool string
	// SpoolBytes bounds the spool; beyond, the oldest matches go. At least 1 MiB. Default 256 MiB.
	SpoolBytes int64
	// SpoolSync is how old matches in the spool may be before they are synced to the disk; 0: before they are sent. Not negative. Default 1s.
	SpoolSync time.Duration
	// DrainTimeout bounds what is done after Run's context has ended. Positive. Default 5s.
	DrainTimeout time.Duration
	// FilterShadow has every event leave the kernel that the rules look at, also those of which the kernel filter says that no rule can match,
	// to check that. Default false: 1 of 10,000 is checked.
	FilterShadow bool
	// ReloadDelay is how long after the last change of a rules file the rules are loaded again. Positive. Default 100ms.
	ReloadDelay time.Duration
}

// DefaultConfig returns the defaults of Config.
func DefaultConfig() Config {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	return Config{
		Node: bus.NodeName(hostname), Hostname: hostname,
		Format: output.Text, HTTPTimeout: 5 * time.Second, OutputQueue: 4096,
		ThrottleRate: 100, ThrottleBurst: 2000,
		Processes: process.DefaultConfig().Max, Retention: process.DefaultConfig().Retention,
		IdentityTimeout: container.DefaultConfig().Timeout, Waiting: 4096,
		RuntimeSockets: container.DefaultSockets(),
		HostRoot:       host.Find(),
		Recorder:       recorder.DefaultConfig(),
		BufferEvents:   65536, BufferBytes: 64 << 20, SpoolBytes: spool.DefaultConfig().MaxBytes, SpoolSync: spool.DefaultConfig().Sync,
		DrainTimeout: 5 * time.Second, ReloadDelay: 100 * time.Millisecond,
	}
}

// Validate reports every field that is out of its range, by its YAML path. It does no I/O.
func (c Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	}
	if c.Node == "" {
		bad("node", "is empty")
	} else if bus.NodeToken(c.Node) == bus.InvalidToken {
		bad("node", "%q is no Kubernetes name", c.Node)
	}
	if c.Format != output.Text && c.Format != output.JSON {
		bad("format", "%q is none of %s, %s", string(c.Format), output.Text, output.JSON)
	}
	if c.HTTPOutput != "" {
		if u, err := url.Parse(c.HTTPOutput); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			bad("httpOutput", "%q is no http or https URL", c.HTTPOutput)
		}
	}
	for _, d := range []struct {
		path string
		d    time.Duration
	}{
		{"httpTimeout", c.HTTPTimeout},
		{"retention", c.Retention},
		{"identityTimeout", c.IdentityTimeout},
		{"drainTimeout", c.DrainTimeout},
		{"reloadDelay", c.ReloadDelay},
	} {
		if d.d <= 0 {
			bad(d.path, "%v is not positive", d.d)
		}
	}
	if c.IdentityTimeout > 10*time.Second {
		bad("identityTimeout", "%v is more than 10s", c.IdentityTimeout)
	}
	for _, n := range []struct {
		path string
		n    int
	}{
		{"outputQueue", c.OutputQueue},
		{"processes", c.Processes},
		{"waiting", c.Waiting},
		{"bufferEvents", c.BufferEvents},
		{"bufferBytes", c.BufferBytes},
	} {
		if n.n <= 0 {
			bad(n.path, "%d is not positive", n.n)
		}
	}
	if err := c.Recorder.Validate(); err != nil && !c.Recorder.Off {
		for _, err := range multiple(err) {
			errs = append(errs, fmt.Errorf("recorder.%w", err))
		}
	}
	if c.ThrottleRate < 0 || c.ThrottleRate > 1e6 {
		bad("throttle.rate", "%d is not in 0 to 1000000", c.ThrottleRate)
	}
	if c.ThrottleBurst < 1 || c.ThrottleBurst > 1e6 {
		bad("throttle.burst", "%d is not in 1 to 1000000", c.ThrottleBurst)
	}
	if c.SelfSocket != "" {
		if err := exempt.ValidatePath(c.SelfSocket); err != nil {
			bad("selfSocket", "%v", err)
		}
	}
	if c.Spool != "" && c.SpoolBytes < 1<<20 {
		bad("spoolSize", "%d is less than 1 MiB", c.SpoolBytes)
	}
	if c.SpoolSync < 0 {
		bad("spoolSync", "%v is negative", c.SpoolSync)
	}
	for i, s := range c.RuntimeSockets {
		if _, err := container.ParseSocket(s); err != nil {
			bad(fmt.Sprintf("runtimeSockets[%d]", i), "%v", err)
		}
	}
	return errors.Join(errs...)
}

// multiple returns the errors that errors.Join joined in err.
func multiple(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
