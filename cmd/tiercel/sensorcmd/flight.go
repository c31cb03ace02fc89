package sensorcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/sensor"
)

// A flightOptions is what the flags about the flight recorder say.
type flightOptions struct {
	container string
	last      time.Duration
	output    string
	node      string
}

// answerWait bounds the wait for each part of an answer.
const answerWait = 15 * time.Second

// withFlight gives `sensor record` the flags by which it asks the sensor that runs for what it has recorded already.
func (c *command) withFlight(cmd *cobra.Command) *cobra.Command {
	var o flightOptions
	f := cmd.Flags()
	f.StringVar(&o.container, "container", "", "ask the running sensor for what its flight recorder kept of this container (id, its first characters, name, POD or NAMESPACE/POD; or host)")
	f.DurationVar(&o.last, "last", 0, "with --container: how far back (default all that is kept)")
	f.StringVarP(&o.output, "output", "o", "", "with --container: the file to write (default CONTAINER.capture; - for standard output)")
	f.StringVar(&o.node, "node", "", "with --container: the node whose sensor is asked (default this one)")
	conn := connect.AddFlags(cmd)
	cmd.Use = "record FILE | --container ID"
	cmd.Long += "\n\nWith --container nothing is recorded now: the file gets what the sensor that runs kept in its flight recorder."
	cmd.Example += "\n  tiercel sensor record --container 3f1e8a90c2d1 --last 60s -o before.capture"
	for _, other := range []string{"rules", "types", "duration", "max-size"} {
		cmd.MarkFlagsMutuallyExclusive("container", other)
	}
	args, run := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if cmd.Flags().Changed("container") {
			switch {
			case o.container == "":
				return cli.Usagef("--container: is empty: give an id, its first characters, a name, or host")
			case len(given) > 0:
				return cli.Usagef("%s: with --container the file is named by -o", given[0])
			}
			return nil
		}
		for _, name := range []string{"last", "output", "node"} {
			if cmd.Flags().Changed(name) {
				return cli.Usagef("--%s: only with --container", name)
			}
		}
		return args(cmd, given)
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if !cmd.Flags().Changed("container") {
			return run(cmd, given)
		}
		return c.flight(cmd.Context(), conn, &o)
	}
	return cmd
}

// flight asks for a flight record and writes it.
func (c *command) flight(ctx context.Context, conn *connect.Flags, o *flightOptions) (err error) {
	if o.last < 0 {
		return cli.Usagef("--last: %v is negative", o.last)
	}
	if o.node == "" {
		o.node = sensor.DefaultConfig().Node
	}
	b, err := conn.Connect(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	request, err := json.Marshal(sensor.RecordRequest{Container: o.container, LastMS: o.last.Milliseconds()})
	if err != nil {
		return err
	}
	if o.output == "" {
		o.output = strings.ReplaceAll(o.container, "/", "_") + ".capture"
	}
	if o.output == "-" {
		_, err := ask(b.Conn(), o.node, request, c.Out)
		return err
	}
	file, err := os.OpenFile(o.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return withHint(fmt.Errorf("make capture: %w", err))
	}
	events, err := ask(b.Conn(), o.node, request, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(o.output))
	}
	fmt.Fprintf(c.Out, "%d events of %s: %s\n", events, o.container, o.output)
	return nil
}

// ask sends request to the sensor of node, writes the parts of its answer to w, and returns how many events they hold.
func ask(nc *nats.Conn, node string, request []byte, w io.Writer) (events int, err error) {
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return 0, fmt.Errorf("ask the sensor: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	subject := string(bus.NodeSubject(node, sensor.RecordOperation))
	if err := nc.PublishRequest(subject, inbox, request); err != nil {
		return 0, fmt.Errorf("ask the sensor: %w", err)
	}
	for part := 1; ; part++ {
		m, err := sub.NextMsg(answerWait)
		if errors.Is(err, nats.ErrNoResponders) {
			return 0, &cli.Error{
				Err:  fmt.Errorf("no sensor answers for node %q", node),
				Hint: "is `tiercel run` or `tiercel sensor` running there? --node names another node",
			}
		}
		if err != nil {
			return 0, fmt.Errorf("wait for part %d of the flight record: %w", part, err)
		}
		if text := m.Header.Get(micro.ErrorHeader); text != "" {
			return 0, errors.New(text)
		}
		if got := m.Header.Get(sensor.HeaderPart); got != strconv.Itoa(part) {
			return 0, fmt.Errorf("part %q of the flight record came instead of part %d", got, part)
		}
		if _, err := w.Write(m.Data); err != nil {
			return 0, fmt.Errorf("write flight record: %w", err)
		}
		if m.Header.Get(sensor.HeaderParts) == strconv.Itoa(part) {
			return strconv.Atoi(m.Header.Get(sensor.HeaderEvents))
		}
	}
}
