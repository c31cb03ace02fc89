package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules/spell"
)

// applyConfig fills the flags of cmd that the command line left alone from the environment and then from the YAML file of --config. Every flag is a
// key of that file, written in camel case (httpOutput for --http-output); what is more than a value or a list of them is a key of nested,
// a pointer to a struct with yaml tags. A key that is neither is an error that names its line and the nearest key. What it returns knows
// where each value came from.
func applyConfig(cmd *cobra.Command, nested any) (places, error) {
	flags := cmd.Flags()
	var errs []error
	from := places{}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			from[camel(f.Name)] = place{text: "--" + f.Name, named: true}
		}
		if v, ok := lookupSetting(f.Name); ok && !f.Changed && f.Name != "help" {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("environment %s: %w", envName(f.Name), err))
			}
			from[camel(f.Name)] = place{text: "environment " + envName(f.Name), named: true}
		}
	})
	if file := flags.Lookup("config").Value.String(); file != "" {
		errs = append(errs, applyFile(flags, file, nested, from)...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &cli.Error{Err: err, Code: cli.ExitUsage}
	}
	return from, nil
}

func applyFile(flags *pflag.FlagSet, file string, nested any, from places) []error {
	data, err := os.ReadFile(file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("configuration %s does not exist", file)
		}
		return []error{err}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	if len(doc.Content) == 0 {
		return nil // an empty file
	}
	m := doc.Content[0]
	if m.Kind != yaml.MappingNode {
		return []error{fmt.Errorf("%s:%d:%d: configuration is no mapping", file, m.Line, m.Column)}
	}
	keys := yamlKeys(nested)
	var errs []error
	at := func(n *yaml.Node, err error) {
		errs = append(errs, fmt.Errorf("%s:%d:%d: %w", file, n.Line, n.Column, err))
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		from.add(file, key.Value, value)
		if keys[key.Value] {
			continue
		}
		f := flags.Lookup(kebab(key.Value))
		if f == nil || key.Value != camel(f.Name) || f.Name == "help" || f.Name == "config" {
			at(key, unknownKey(key.Value, flags, keys))
			continue
		}
		if f.Changed {
			continue // the command line or the environment decided
		}
		if err := setFlag(flags, f, value); err != nil {
			at(value, fmt.Errorf("%s: %w", key.Value, err))
		}
	}
	return append(errs, decodeNested(file, data, keys, nested)...)
}

// notFound is what the YAML library says of a key that a struct lacks.
var notFound = regexp.MustCompile(`^line (\d+): field (.*) not found in type .*$`)

// decodeNested decodes the keys of nested, and refuses keys inside them that nothing reads.
func decodeNested(file string, data []byte, keys map[string]bool, nested any) []error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	err := dec.Decode(nested)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	te, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	top := reflect.TypeOf(nested).Elem().String()
	var errs []error
	for _, msg := range te.Errors {
		m := notFound.FindStringSubmatch(msg)
		switch {
		case m == nil:
			line, text, _ := strings.Cut(strings.TrimPrefix(msg, "line "), ": ")
			errs = append(errs, fmt.Errorf("%s:%s: %s", file, line, plainType(text)))
		case !strings.HasSuffix(msg, "in type "+top) && !keys[m[2]]: // those of the top were looked at before
			errs = append(errs, fmt.Errorf("%s:%s: unknown key %q", file, m[1], m[2]))
		}
	}
	return errs
}

// otherType is what the YAML library says of a value that does not fit.
var otherType = regexp.MustCompile("^cannot unmarshal !!(\\w+)(?: `(.*)`)? into (.*)$")

// plainType says it in the words of whom it concerns.
func plainType(text string) string {
	m := otherType.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	want := map[string]string{"int": "whole number", "int64": "whole number", "bool": "true or false", "time.Duration": "time such as 30s", "string": "text"}[m[3]]
	switch {
	case want != "":
	case strings.HasPrefix(m[3], "[]"):
		want = "list"
	default:
		want = "mapping (key: value)"
	}
	value := map[string]string{"seq": "a list", "map": "a mapping"}[m[1]]
	if value == "" {
		value = strconv.Quote(m[2])
	}
	return value + " where a " + want + " is expected"
}

// yamlKeys returns the keys of the struct that nested points to.
func yamlKeys(nested any) map[string]bool {
	keys := map[string]bool{}
	t := reflect.TypeOf(nested).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		keys[name] = true
	}
	return keys
}

// setFlag sets f from a scalar, or from a sequence of scalars if f is a list.
func setFlag(flags *pflag.FlagSet, f *pflag.Flag, value *yaml.Node) error {
	switch value.Kind {
	case yaml.ScalarNode:
		return flags.Set(f.Name, value.Value)
	case yaml.SequenceNode:
		list, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return errors.New("one value expected, not a list")
		}
		items := make([]string, 0, len(value.Content))
		for _, n := range value.Content {
			if n.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: list item is no plain value", n.Line)
			}
			items = append(items, n.Value)
		}
		return list.Replace(items)
	default:
		return errors.New("a plain value or a list expected")
	}
}

func unknownKey(key string, flags *pflag.FlagSet, keys map[string]bool) error {
	known := make([]string, 0, len(keys))
	for k := range keys {
		known = append(known, k)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "config" {
			known = append(known, camel(f.Name))
		}
	})
	if near := spell.Nearest(key, known); near != "" {
		return fmt.Errorf("unknown key %q (did you mean %q?)", key, near)
	}
	return fmt.Errorf("unknown key %q", key)
}

// camel turns a flag's name into a key: http-output into httpOutput.
func camel(flag string) string {
	words := strings.Split(flag, "-")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// kebab is the inverse of camel.
func kebab(key string) string {
	var b strings.Builder
	for _, r := range key {
		if unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
