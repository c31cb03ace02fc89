// Package cli is what the commands of tiercel share: their streams, exit codes, hints and the -o flag. It knows no command.
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// Exit codes of every command.
const (
	ExitOK    = 0
	ExitError = 1 // the command did not succeed, or what it checked is not in order
	ExitUsage = 2 // the command line is wrong
)

// A Streams is where a command reads and writes. Commands never use os.Stdout themselves.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// An Error is an error with a hint of what to do about it and the exit code it asks for.
type Error struct {
	Err  error
	Hint string // printed as a hint: line; may be empty
	Code int    // 0 means ExitError
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// ErrSilent ends a command with ExitError when it has already said why.
var ErrSilent = errors.New("already reported")

// Usagef returns an error that ends a command with ExitUsage.
func Usagef(format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), Code: ExitUsage}
}

// Report prints err as an error: line and a hint: line and returns the exit code it asks for.
func Report(w io.Writer, err error) int {
	if err == nil {
		return ExitOK
	}
	if errors.Is(err, ErrSilent) {
		return ExitError
	}
	fmt.Fprintf(w, "error: %v\n", err)
	code := ExitError
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Hint != "" {
			fmt.Fprintf(w, "hint: %s\n", e.Hint)
		}
		if e.Code != 0 {
			code = e.Code
		}
	}
	return code
}

// A Format is the value of the -o flag.
type Format string

// Formats of the -o flag.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Flag adds the -o flag to cmd, allowing the formats given; the first is the default.
func (f *Format) Flag(cmd *cobra.Command, allowed ...Format) {
	*f = allowed[0]
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	cmd.Flags().VarP(&formatFlag{f, names}, "output", "o", "output format: "+strings.Join(names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

type formatFlag struct {
	f       *Format
	allowed []string
}

func (f *formatFlag) String() string { return string(*f.f) }
func (f *formatFlag) Type() string   { return "format" }
func (f *formatFlag) Set(s string) error {
	for _, a := range f.allowed {
		if a == s {
			*f.f = Format(s)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", s, strings.Join(f.allowed, ", "))
}

// Print writes v as JSON or YAML; v's JSON tags count for both. It panics for other formats: tables are the command's own.
func (f Format) Print(w io.Writer, v any) error {
	switch f {
	case JSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case YAML:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		var n yaml.Node
		if err := yaml.Unmarshal(b, &n); err != nil {
			return err
		}
		blockStyle(&n)
		return yaml.NewEncoder(w).Encode(&n)
	default:
		panic("cli: Print of format " + string(f))
	}
}

// blockStyle undoes the flow style that a node read from JSON has.
func blockStyle(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	for _, c := range n.Content {
		blockStyle(c)
	}
}

// Whoami is the name of the user who runs the command, for the record of what was asked for; "somebody" if it has none.
func Whoami() string {
	u, err := user.Current()
	if err != nil {
		return "somebody"
	}
	return u.Username
}
