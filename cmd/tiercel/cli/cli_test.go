package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestReport(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code int
		want string
	}{
		{"none", nil, ExitOK, ""},
		{"plain", errors.New("disk full"), ExitError, "error: disk full\n"},
		{"hint", &Error{Err: errors.New("no BTF"), Hint: "boot another kernel"}, ExitError, "error: no BTF\nhint: boot another kernel\n"},
		{"wrapped usage", fmt.Errorf("deploy: %w", Usagef("no name")), ExitUsage, "error: deploy: no name\n"},
		{"said already", ErrSilent, ExitError, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if got := Report(&b, tt.err); got != tt.code {
				t.Errorf("code %d, want %d", got, tt.code)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStrict(t *testing.T) {
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"runs", []string{"group", "leaf"}, ExitOK, ""},
		{"unknown command", []string{"group", "laef"}, ExitUsage, "error: root group has no command \"laef\"\nhint: did you mean root group leaf?\n"},
		{"unknown at the root", []string{"xyz"}, ExitUsage, "error: root has no command \"xyz\"\nhint: root --help lists the commands\n"},
		{"another's word", []string{"group", "twig"}, ExitUsage, "error: root group has no command \"twig\"\nhint: did you mean root group leaf?\n"},
		{"below one that runs", []string{"both", "undr"}, ExitUsage, "error: root both has no command \"undr\"\nhint: did you mean root both under?\n"},
		{"flag misspelled", []string{"group", "leaf", "--updat"}, ExitUsage, "error: unknown flag: --updat\nhint: did you mean --update?\n"},
		{"long flag with one hyphen", []string{"group", "leaf", "-update"}, ExitUsage, "error: unknown shorthand flag: 'u' in -update\nhint: did you mean --update?\n"},
		{"unknown flag", []string{"group", "leaf", "-x"}, ExitUsage, "error: unknown shorthand flag: 'x' in -x\nhint: root group leaf --help lists the flags\n"},
		{"too many arguments", []string{"group", "leaf", "x"}, ExitUsage, "error: unknown command \"x\" for \"root group leaf\"\nhint: usage: root group leaf [flags]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := &cobra.Command{Use: "root", SilenceErrors: true, SilenceUsage: true}
			group := &cobra.Command{Use: "group"}
			leaf := &cobra.Command{Use: "leaf", SuggestFor: []string{"twig"}, Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {}}
			leaf.Flags().Bool("update", false, "")
			group.AddCommand(leaf)
			both := &cobra.Command{Use: "both", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {}}
			both.AddCommand(&cobra.Command{Use: "under", Run: func(*cobra.Command, []string) {}})
			root.AddCommand(group, both)
			Strict(root)
			root.SetArgs(tt.args)
			var b bytes.Buffer
			if got := Report(&b, root.Execute()); got != tt.code {
				t.Errorf("code %d, want %d", got, tt.code)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	v := map[string]any{"name": "x", "count": 3, "on": "true", "list": []string{"a", "b"}}
	tests := []struct {
		format Format
		want   string
	}{
		{JSON, "{\n  \"count\": 3,\n  \"list\": [\n    \"a\",\n    \"b\"\n  ],\n  \"name\": \"x\",\n  \"on\": \"true\"\n}\n"},
		{YAML, "count: 3\nlist:\n    - a\n    - b\nname: x\non: \"true\"\n"},
	}
	for _, tt := range tests {
		t.Run(string(tt.format), func(t *testing.T) {
			var b bytes.Buffer
			if err := tt.format.Print(&b, v); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
