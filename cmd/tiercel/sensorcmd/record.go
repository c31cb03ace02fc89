package sensorcmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus/quantity"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/rulecmd"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/spell"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// A recordOptions is what the flags of `sensor record` say.
type recordOptions struct {
	rules    []string
	types    []string
	duration time.Duration
	maxSize  string
}

func (c *command) record() *cobra.Command {
	var o recordOptions
	cmd := &cobra.Command{
		Use:   "record FILE",
		Short: "Record kernel events into a file",
		Long: "Record into FILE the kernel events that rules look at, as the kernel sent them, with the processes that were there before and the\n" +
			"names of containers and users. tiercel sensor replay and tiercel rule test match them against any rules, on any machine. Other\n" +
			"rules see no more than was recorded: --types records every event of some types. Needs root; a sensor that runs is not disturbed.\n" +
			"A capture holds command lines and environments: treat it as a secret.",
		Example: "  tiercel sensor record incident.capture --duration 30s\n" +
			"  tiercel sensor record opens.capture --types open,openat,openat2",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.runRecord(ctx, args[0], &o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.rules, "rules", "r", nil, "rules file or directory, may be repeated; default the embedded rules")
	f.StringSliceVar(&o.types, "types", nil, "event types to record whatever rules look at, separated by commas (tiercel rule events lists them)")
	f.DurationVar(&o.duration, "duration", 0, "how long to record (default until interrupted)")
	f.StringVar(&o.maxSize, "max-size", "256Mi", "size at which the recording ends; 0 for none")
	cmd.MarkFlagsMutuallyExclusive("rules", "types")
	return cmd
}

// runRecord records into the new file name until ctx ends.
func (c *command) runRecord(ctx context.Context, name string, o *recordOptions) (err error) {
	limit, err := quantity.ParseSize(o.maxSize)
	if err != nil {
		return cli.Usagef("--max-size: %w", err)
	}
	if o.duration < 0 {
		return cli.Usagef("--duration: %v is negative", o.duration)
	}
	set, err := c.recordedRules(o)
	if err != nil {
		return err
	}
	if err := kernel.Check(); err != nil {
		return requirement(err)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return withHint(fmt.Errorf("make capture: %w", err))
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	cfg := sensor.DefaultConfig()
	cfg.ThrottleRate = 0 // no match leaves: what is recorded does not depend on them
	w, err := capture.NewWriter(file, c.header(cfg), int64(limit))
	if err != nil {
		return err
	}
	s, err := sensor.New(cfg, sensor.Deps{
		Rules: set, Capture: w, Registerer: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	fmt.Fprintf(c.Err, "recording into %s; Ctrl-C ends it\n", name)
	err = s.Run(ctx)
	if errors.Is(err, capture.ErrFull) {
		fmt.Fprintf(c.Err, "the capture has reached %v: the recording ends here\n", limit)
		err = nil
	}
	closed := w.Close()
	if err == nil {
		err = closed // otherwise it is the same, or follows from it
	}
	if err != nil {
		return c.recordFailed(requirement(err), w, name)
	}
	fmt.Fprintf(c.Out, "recorded %d events in %d bytes: %s\n", w.Events(), w.Size(), name)
	var lost uint64
	for _, l := range s.Losses() {
		lost += l.Process + l.Event
	}
	if lost > 0 {
		fmt.Fprintf(c.Err, "%d more were lost on their way out of the kernel: they came faster than they were read; record fewer types, or rules that ask for less\n", lost)
	}
	return nil
}

// recordFailed adds to err what there is of the capture, and removes a file without an event.
func (c *command) recordFailed(err error, w *capture.Writer, name string) error {
	if w.Events() == 0 {
		return errors.Join(err, os.Remove(name))
	}
	var ce *cli.Error
	if errors.As(err, &ce) && ce.Hint != "" {
		return err
	}
	return &cli.Error{Err: err, Hint: "what stands in " + name + " is replayed as far as it is whole"}
}

func (c *command) header(cfg sensor.Config) capture.Header {
	h := capture.NewHeader()
	h.Program, h.Node, h.Hostname, h.BootOffsetNS = c.version, cfg.Node, cfg.Node, sensor.BootOffset()
	return h
}

// recordedRules are the rules whose events are recorded: those of --rules, or one that wants all events of --types.
func (c *command) recordedRules(o *recordOptions) (*rules.Set, error) {
	if len(o.types) == 0 {
		return rulecmd.Load(c.Streams, o.rules, options("", rules.All))
	}
	given := kernel.Given()
	for _, name := range o.types {
		t, ok := field.EventTypeByName(name)
		if ok && given.Has(t) {
			continue
		}
		err := &cli.Error{Err: fmt.Errorf("--types: there are no events of type %q", name), Code: cli.ExitUsage}
		if near := spell.Nearest(name, typeNames(given)); near != "" && near != name {
			err.Hint = "did you mean " + near + "?"
		}
		return nil, err
	}
	text := "- rule: Recorded\n  desc: every event of the types asked for\n  condition: evt.type in (" + strings.Join(o.types, ", ") +
		")\n  output: recorded\n  priority: DEBUG\n"
	set, report := rules.Load([]rules.File{{Name: "types", Data: []byte(text)}}, options("", rules.All))
	if set == nil {
		return nil, report.Err()
	}
	return set, nil
}

func typeNames(given field.EventSet) []string {
	var names []string
	for t := range given.All() {
		names = append(names, t.Info().Name)
	}
	return names
}

// requirement adds the hint of what the machine lacks to err.
func requirement(err error) error {
	if re, ok := errors.AsType[*kernel.RequirementError](err); ok {
		return &cli.Error{Err: err, Hint: re.Hint}
	}
	return err
}
