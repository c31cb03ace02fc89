// Package connect is how client commands find the bus: the flags --data, --nats, --creds, --ca, --cert and --key, and a connection made
// from them. Without flags it finds the tiercel that runs on this machine by its data directory. It knows no command.
package connect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
)

// systemDataDir is the data directory of root.
const systemDataDir = "/var/lib/tiercel"

// DefaultDataDir is where an installed tiercel keeps its data: /var/lib/tiercel for root, otherwise the user's state directory.
func DefaultDataDir() string {
	if os.Geteuid() == 0 {
		return systemDataDir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tiercel")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "tiercel")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("tiercel-%d", os.Geteuid()))
}

// Flags are the connection flags of a client command.
type Flags struct {
	Data  string // data directory of a running tiercel
	NATS  string // URL; excludes Data
	Creds string
	CA    string
	Cert  string
	Key   string
}

// AddFlags adds the connection flags to cmd, for it and its subcommands.
func AddFlags(cmd *cobra.Command) *Flags {
	f := new(Flags)
	fs := cmd.PersistentFlags()
	fs.StringVar(&f.Data, "data", "", "data directory of the tiercel that runs on this machine (default: data here, then "+DefaultDataDir()+")")
	fs.StringVar(&f.NATS, "nats", "", "URL of a NATS server, instead of the one that runs on this machine")
	fs.StringVar(&f.Creds, "creds", "", "credentials file for --nats: NATS .creds or an nkey seed")
	fs.StringVar(&f.CA, "ca", "", "PEM file of the authority of the NATS server's certificate")
	fs.StringVar(&f.Cert, "cert", "", "PEM file of a client certificate for NATS")
	fs.StringVar(&f.Key, "key", "", "PEM file of the client certificate's key")
	cmd.MarkFlagsMutuallyExclusive("data", "nats")
	cmd.MarkFlagsRequiredTogether("cert", "key")
	_ = cmd.MarkPersistentFlagDirname("data")
	return f
}

// Connect connects to the bus that the flags name. Close what it returns. Its errors are *cli.Error with a hint where there is one.
func (f *Flags) Connect(ctx context.Context, opts ...bus.Option) (*bus.Bus, error) {
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	b, err := bus.Connect(ctx, cfg, opts...)
	if err == nil {
		return b, nil
	}
	if ce, ok := errors.AsType[*bus.ConnectError](err); ok {
		return nil, &cli.Error{Err: err, Hint: ce.Hint()}
	}
	return nil, err
}

// config is the configuration for Connect.
func (f *Flags) config() (bus.Config, error) {
	cfg := bus.DefaultConfig()
	cfg.Name = "tiercel-cli"
	f = f.orEnvironment()
	cfg.CA, cfg.Cert, cfg.Key, cfg.Creds = f.CA, f.Cert, f.Key, f.Creds
	if f.NATS != "" {
		cfg.URL = f.NATS
		return cfg, nil
	}
	for name, v := range map[string]string{"creds": f.Creds, "ca": f.CA, "cert": f.Cert} {
		if v != "" {
			return cfg, cli.Usagef("--%s without --nats: the local tiercel needs none", name)
		}
	}
	a, dir, err := f.find()
	if err != nil {
		return cfg, err
	}
	cfg.URL, cfg.Creds = a.URL, filepath.Join(dir, bus.AccessFile)
	return cfg, nil
}

// Server is the URL of the server that the flags or the environment name; empty if it is to be found by its data directory.
func (f *Flags) Server() string { return f.orEnvironment().NATS }

// orEnvironment is f, or, if no flag names a server, what the environment gives to the tiercel that runs here: in its container a command has
// the same.
func (f *Flags) orEnvironment() *Flags {
	if *f != (Flags{}) {
		return f
	}
	env := os.Getenv
	if url := env("TIERCEL_NATS"); url != "" {
		return &Flags{NATS: url, Creds: env("TIERCEL_CREDS"), CA: env("TIERCEL_CA"), Cert: env("TIERCEL_CERT"), Key: env("TIERCEL_KEY")}
	}
	return &Flags{Data: env("TIERCEL_DATA")}
}

// serverDir is the embedded server's directory below the data directory.
const serverDir = "nats"

// find looks for a running server in the data directory given, or else in the usual ones.
func (f *Flags) find() (*bus.Access, string, error) {
	dirs := []string{f.Data}
	if f.Data == "" {
		dirs = []string{"data", DefaultDataDir(), systemDataDir}
	} else if st, err := os.Stat(f.Data); err != nil {
		return nil, "", fmt.Errorf("data directory: %w", err)
	} else if !st.IsDir() {
		return nil, "", fmt.Errorf("data directory: %s is no directory", f.Data)
	}
	var first error
	for _, data := range dirs {
		for _, dir := range []string{filepath.Join(data, serverDir), data} {
			a, err := bus.FindServer(dir)
			if err == nil {
				return a, dir, nil
			}
			if first == nil || errors.Is(first, bus.ErrNotRunning) {
				first = err // anything says more than that nothing runs
			}
		}
	}
	if f.Data == "" && errors.Is(first, bus.ErrNotRunning) {
		first = fmt.Errorf("%w: looked in %s", bus.ErrNotRunning, strings.Join(slices.Compact(dirs), ", "))
	}
	return nil, "", findError(first)
}

func findError(err error) error {
	switch {
	case errors.Is(err, bus.ErrNotRunning):
		return &cli.Error{
			Err:  fmt.Errorf("no tiercel runs here: %w", err),
			Hint: "start one (tiercel run), or say where one runs: --data DIR of its data directory, or --nats URL of its NATS server",
		}
	case errors.Is(err, fs.ErrPermission):
		return &cli.Error{
			Err:  fmt.Errorf("reach the tiercel that runs here: %w", err),
			Hint: "its credentials are for the user who started it: run this command as that user (sudo), or give --nats and --creds",
		}
	}
	return fmt.Errorf("reach the tiercel that runs here: %w", err)
}
