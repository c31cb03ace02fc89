package fncmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/functions/sdk/javascript"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

func newInspect(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "inspect MODULE|NAME",
		Short: "Show what a module is, needs and imports, without running it",
		Long: "Show a module's manifest, what it needs, which configuration it takes, its imports and sizes, and how the sandbox makes a fresh state for\n" +
			"each event. MODULE is a file (a module, or a source in\n" +
			"JavaScript or TypeScript), builtin:NAME or sha256:DIGEST; NAME is a deployed function.",
		Example: "  tiercel fn inspect function.wasm\n  tiercel fn inspect builtin:isolate-pod\n  tiercel fn inspect shell-label",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			bin, err := moduleOf(cmd.Context(), flags, args[0])
			if err != nil {
				return report(s, err)
			}
			in, wrong := sandbox.Inspect(bin)
			switch {
			case in.Imports == nil && in.Exports == nil && in.Manifest.ABI == "": // nothing of it can be read
			case format == cli.Table || format == cli.Wide:
				err = inspected(s, in, format == cli.Wide)
			default:
				err = format.Print(s.Out, in)
			}
			if wrong != nil {
				return errors.Join(err, report(s, wrong))
			}
			return err
		},
	}
	format.Flag(cmd, cli.Table, cli.Wide, cli.JSON, cli.YAML)
	return cmd
}

// moduleOf returns the module that a user names. A file comes first.
func moduleOf(ctx context.Context, flags *connect.Flags, name string) ([]byte, error) {
	if b, ok := strings.CutPrefix(name, "builtin:"); ok {
		return builtin.Module(b)
	}
	if isFile(name) {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if info.Size() > 2*abi.MaxModule {
			return nil, fmt.Errorf("%s is larger than any module: %d bytes", name, info.Size())
		}
		if javascript.IsSource(name) {
			return packed(ctx, name)
		}
		return os.ReadFile(name)
	}
	if strings.ContainsAny(name, "./") && !strings.HasPrefix(name, "sha256:") {
		return nil, &cli.Error{Err: fmt.Errorf("there is no file %s", name), Hint: "tiercel fn build makes one; a deployed function is named without a path"}
	}
	b, st, err := open(ctx, flags)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if strings.HasPrefix(name, "sha256:") {
		return st.Module(ctx, name)
	}
	e, err := st.Get(ctx, token(name))
	if err != nil {
		return nil, explain(ctx, st, err, name)
	}
	return st.Module(ctx, e.Module)
}

// packed makes a module of a source, as deploying it does: its top level says what it needs.
func packed(ctx context.Context, file string) ([]byte, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	engine, err := sandbox.New(sandboxConfig(), nil)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	p, err := engine.Pack(ctx, file, source)
	if err != nil {
		return nil, err
	}
	return p.Module, nil
}

func inspected(s cli.Streams, in *sandbox.Inspection, wide bool) error {
	w := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
	line := func(key, format string, args ...any) {
		fmt.Fprintf(w, "%s:\t%s\n", key, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	m := in.Manifest
	line("name", "%s %s", m.Name, m.Version)
	if m.Description != "" {
		line("description", "%s", printable(m.Description))
	}
	line("format", "%s, %s", in.Format, m.ABI)
	line("digest", "%s", in.Digest)
	line("size", "%s", kib(int64(in.Size)))
	if in.Engine {
		line("engine", "%s", "it runs on the runtime's engine for its language; what follows is the engine's")
	}
	line("code", "%s, with its steps counted %s (%d places), %d functions", kib(int64(in.Code)), kib(int64(in.Metered)), in.Checks, in.Functions)
	line("memory", "begins with %s, %s of it not zero", kib(in.Memory), kib(int64(in.Data)))
	line("reset", "%s: %s", in.Reset, strings.Join(in.ResetWhy, "; "))
	if err := w.Flush(); err != nil {
		return err
	}
	list(s, "needs", needs(&m.Needs))
	list(s, "imports", in.Imports)
	if in.Engine && !wide {
		fmt.Fprintf(s.Out, "exports: %d of the engine, which -o wide lists\n", len(in.Exports))
	} else {
		list(s, "exports", in.Exports)
	}
	if m.Config == nil {
		return nil
	}
	fmt.Fprintln(s.Out, "configuration:")
	schema(s, m.Config, "  ")
	return nil
}

func kib(n int64) string {
	if n < 10<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func list(s cli.Streams, title string, lines []string) {
	if len(lines) == 0 {
		fmt.Fprintf(s.Out, "%s: none\n", title)
		return
	}
	fmt.Fprintf(s.Out, "%s:\n", title)
	for _, l := range lines {
		fmt.Fprintf(s.Out, "  %s\n", printable(l))
	}
}

// needs is what a module asks for, a line each.
func needs(n *abi.Needs) []string {
	var out []string
	for _, k := range n.Kubernetes {
		l := "kubernetes: " + strings.Join(k.Verbs, ", ") + " " + strings.Join(k.Resources, ", ")
		if groups := strings.Join(k.APIGroups, ", "); groups != "" {
			l += " of " + groups
		}
		if k.Optional {
			l += " (optional)"
		}
		if k.Why != "" {
			l += ": " + k.Why
		}
		out = append(out, l)
	}
	for name, needed := range map[string]bool{"exec": n.Exec, "http": n.HTTP, "kv": n.KV, "secrets": n.Secrets, "artifacts": n.Artifacts} {
		if needed {
			out = append(out, name)
		}
	}
	for _, o := range n.Node {
		out = append(out, "node: "+o)
	}
	slices.Sort(out)
	return out
}

// schema prints the properties of a configuration.
func schema(s cli.Streams, c *abi.Schema, indent string) {
	for _, name := range slices.Sorted(maps.Keys(c.Properties)) {
		p := c.Properties[name]
		l := indent + name + ": " + p.Type
		if len(p.Enum) > 0 {
			l += " (" + strings.Join(p.Enum, ", ") + ")"
		}
		if len(p.Default) > 0 {
			l += ", default " + string(p.Default)
		}
		if slices.Contains(c.Required, name) {
			l += ", required"
		}
		if p.Description != "" {
			l += ": " + p.Description
		}
		fmt.Fprintln(s.Out, printable(l))
		schema(s, p, indent+"  ")
	}
}
