// Package sensorcmd holds what stands below `tiercel sensor`: recording kernel events into a file and replaying them.
package sensorcmd

import (
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor"
)

// A command is what the subcommands share.
type command struct {
	cli.Streams
	version string
}

// New returns the subcommands. version is this program's.
func New(s cli.Streams, version string) []*cobra.Command {
	c := &command{Streams: s, version: version}
	return []*cobra.Command{c.withFlight(c.record()), c.replay()}
}

// matching is the value of --rule-matching as an option.
func matching(text string) (rules.Matching, error) {
	switch text {
	case "first":
		return rules.First, nil
	case "all":
		return rules.All, nil
	}
	return 0, cli.Usagef("--rule-matching is %q, want first or all", text)
}

// options are those of `tiercel run` without a configuration.
func options(hostname string, m rules.Matching) rules.Options {
	return rules.Options{
		Hostname: hostname, Matching: m, AppendOutput: []rules.AppendOutput{{SuggestedOutput: true}}, Provider: sensor.Provider(),
	}
}
