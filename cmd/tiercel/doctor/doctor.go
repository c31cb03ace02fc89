// Package doctor holds `tiercel doctor`: what this machine and the tiercel that runs on it have, lack and lost, in words one can act on. Each
// part adds a Check to Checks.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/sensor/host"
)

// A Status says what a finding means.
type Status string

// Statuses of a Finding.
const (
	OK      Status = "ok"
	Note    Status = "note"    // something is missing, and this is what it costs
	Unknown Status = "unknown" // it could not be found out
	Action  Status = "action"  // somebody has to do something
)

// A Finding is one thing that was found out.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"` // what to do
}

// A Env is what checks may ask.
type Env struct {
	Host    host.Root      // where the host's files are found
	HTTP    string         // address of the status server of the tiercel that runs here
	Connect *connect.Flags // how to find its bus
	Client  *http.Client
}

// A Check finds something out. It changes nothing that lasts.
type Check struct {
	Name string
	Run  func(ctx context.Context, e *Env) []Finding
}

// Checks are all checks, in the order of the report.
var Checks = []Check{
	{"kernel", checkKernel},
	{"rights", checkRights},
	{"backends", checkBackends},
	{"cgroups", checkCgroups},
	{"containers", checkContainers},
	{"memory", checkMemory},
	{"sandbox", checkSandbox},
	{"sensor", checkSensor},
	{"bus", checkBus},
}

// checkTimeout bounds one check.
const checkTimeout = 15 * time.Second

// New returns the command `doctor`.
func New(s cli.Streams) *cobra.Command {
	var format cli.Format
	e := &Env{Client: &http.Client{Timeout: 5 * time.Second}}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine and the tiercel on it have, lack and lost",
		Long: "Look at the kernel, the backends, cgroups, container runtimes, memory, the sandbox, the sensor that runs here (through its --http\n" +
			"address) and the bus, and say what is missing, what that costs and what to do. The exit code is 1 if something needs action.\n" +
			"As root it loads the sensor's programs for a moment.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := run(cmd.Context(), e, Checks)
			if err := write(s, format, findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Status == Action {
					return cli.ErrSilent
				}
			}
			return nil
		},
	}
	format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	cmd.Flags().StringVar(&e.HTTP, "http", cmp.Or(os.Getenv("TIERCEL_HTTP"), "127.0.0.1:8765"), "address of /metrics and /readyz of the tiercel that runs here")
	cmd.Flags().StringVar((*string)(&e.Host), "host-root", cmp.Or(os.Getenv("TIERCEL_HOST_ROOT"), string(host.Find())), "where the host's files are found, in a container")
	e.Connect = connect.AddFlags(cmd)
	return cmd
}

func run(ctx context.Context, e *Env, checks []Check) []Finding {
	var all []Finding
	for _, c := range checks {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		for _, f := range c.Run(ctx, e) {
			f.Check = c.Name
			all = append(all, f)
		}
		cancel()
	}
	return all
}

func write(s cli.Streams, format cli.Format, findings []Finding) error {
	if format != cli.Table {
		return format.Print(s.Out, findings)
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", strings.ToUpper(string(f.Status)), f.Check, f.Text)
		if f.Hint != "" {
			fmt.Fprintf(w, "\t\thint: %s\n", f.Hint)
		}
	}
	return w.Flush()
}

// found makes a finding without a hint.
func found(s Status, format string, args ...any) Finding {
	return Finding{Status: s, Text: fmt.Sprintf(format, args...)}
}

// hint adds what to do.
func (f Finding) hint(text string) Finding {
	f.Hint = text
	return f
}
