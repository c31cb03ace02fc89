package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/functions/abi"
)

const maxDepth = 16

// A ConfigError is a problem of a configuration at a place in it.
type ConfigError struct {
	Path string // "config.slack.channel", "config.allow[2]"
	Text string
}

func (e *ConfigError) Error() string { return e.Path + ": " + e.Text }

// ApplyConfig checks a function's configuration (JSON; empty counts as {}) against a manifest's schema and returns it as the guest gets
// it: with defaults filled in, keys sorted, without spaces. It returns all problems, joined, each a *ConfigError. A nil schema takes {}.
func ApplyConfig(s *abi.Schema, config []byte) ([]byte, error) {
	if len(bytes.TrimSpace(config)) == 0 {
		config = []byte("{}")
	}
	if len(config) > abi.MaxConfig {
		return nil, &ConfigError{"config", fmt.Sprintf("%d bytes, more than %d", len(config), abi.MaxConfig)}
	}
	if s == nil {
		s = &abi.Schema{Type: "object"}
	}
	v, err := decode(config)
	if err != nil {
		return nil, &ConfigError{"config", err.Error()}
	}
	a := applier{}
	v = a.apply("config", s, v, 0)
	if len(a.errs) > 0 {
		return nil, errors.Join(a.errs...)
	}
	return encode(v)
}

func decode(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("something follows the value")
	}
	return v, nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

type applier struct{ errs []error }

func (a *applier) bad(path, format string, args ...any) {
	a.errs = append(a.errs, &ConfigError{path, fmt.Sprintf(format, args...)})
}

func (a *applier) apply(path string, s *abi.Schema, v any, depth int) any {
	if depth > maxDepth {
		a.bad(path, "more than %d levels deep", maxDepth)
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		if s.Type == "object" {
			return a.object(path, s, v, depth)
		}
	case []any:
		if s.Type == "array" {
			return a.array(path, s, v, depth)
		}
	case string:
		if s.Type == "string" {
			a.text(path, s, v)
			return v
		}
	case json.Number:
		if s.Type == "integer" || s.Type == "number" {
			a.number(path, s, v)
			return v
		}
	case bool:
		if s.Type == "boolean" {
			return v
		}
	}
	a.bad(path, "want %s, got %s", s.Type, kind(v))
	return v
}

func kind(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	case string:
		return strconv.Quote(v)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return "null"
}

func (a *applier) object(path string, s *abi.Schema, v map[string]any, depth int) any {
	for _, k := range slices.Sorted(maps.Keys(v)) {
		sub, ok := s.Properties[k]
		if !ok {
			sub = s.Additional
		}
		if sub == nil {
			a.bad(path+"."+k, "unknown key; known are %s", known(s))
			continue
		}
		v[k] = a.apply(path+"."+k, sub, v[k], depth+1)
	}
	for _, k := range s.Required {
		if _, ok := v[k]; !ok {
			a.bad(path+"."+k, "is required")
		}
	}
	for k, sub := range s.Properties {
		if _, ok := v[k]; !ok && len(sub.Default) > 0 {
			v[k], _ = decode(sub.Default) // checkSchema has decoded it
		}
	}
	a.oneOf(path, s, v)
	return v
}

func (a *applier) oneOf(path string, s *abi.Schema, v map[string]any) {
	if len(s.OneOf) == 0 {
		return
	}
	n := 0
	sets := make([]string, len(s.OneOf))
	for i, set := range s.OneOf {
		has := true
		for _, k := range set.Required {
			_, ok := v[k]
			has = has && ok
		}
		if has {
			n++
		}
		sets[i] = strings.Join(set.Required, " and ")
	}
	if n != 1 {
		a.bad(path, "set exactly one of %s; %d are set", strings.Join(sets, ", "), n)
	}
}

func known(s *abi.Schema) string {
	if len(s.Properties) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", ")
}

func (a *applier) array(path string, s *abi.Schema, v []any, depth int) any {
	if s.MaxItems > 0 && len(v) > s.MaxItems {
		a.bad(path, "%d items, more than %d", len(v), s.MaxItems)
		return v
	}
	for i := range v {
		if s.Items != nil {
			v[i] = a.apply(fmt.Sprintf("%s[%d]", path, i), s.Items, v[i], depth+1)
		}
	}
	return v
}

func (a *applier) text(path string, s *abi.Schema, v string) {
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		a.bad(path, "%q is none of %s", v, strings.Join(s.Enum, ", "))
	}
	if s.MaxLength > 0 && len(v) > s.MaxLength {
		a.bad(path, "%d bytes, more than %d", len(v), s.MaxLength)
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) { // checkSchema has compiled it
		a.bad(path, "%q does not match %s", v, s.Pattern)
	}
}

func (a *applier) number(path string, s *abi.Schema, n json.Number) {
	f, err := n.Float64()
	if err != nil {
		a.bad(path, "%s is out of range", n)
		return
	}
	if s.Type == "integer" && f != math.Trunc(f) {
		a.bad(path, "%s is not an integer", n)
	}
	if s.Minimum != nil && f < *s.Minimum {
		a.bad(path, "%s is below %v", n, *s.Minimum)
	}
	if s.Maximum != nil && f > *s.Maximum {
		a.bad(path, "%s is above %v", n, *s.Maximum)
	}
}

// checkGrant returns what is wrong with what a schema says its value is used for.
func checkGrant(path string, s *abi.Schema) []error {
	switch s.Grant {
	case "":
		return nil
	case abi.GrantCommand:
		if s.Type != "array" || s.Items == nil || s.Items.Type != "string" {
			return []error{fmt.Errorf("%s.grant: %s is for an array of strings", path, s.Grant)}
		}
	case abi.GrantContainer, abi.GrantURL, abi.GrantSecret:
		if s.Type != "string" {
			return []error{fmt.Errorf("%s.grant: %s is for a string", path, s.Grant)}
		}
	default:
		return []error{fmt.Errorf("%s.grant: %q is none of %s, %s, %s, %s", path, s.Grant, abi.GrantCommand, abi.GrantContainer, abi.GrantURL, abi.GrantSecret)}
	}
	return nil
}

// checkSchema returns what is wrong with a schema itself, defaults included.
func checkSchema(path string, s *abi.Schema, depth int) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(path+format, args...)) }
	if s == nil {
		bad(": null is no schema")
		return errs
	}
	if depth > maxDepth {
		bad(": more than %d levels deep", maxDepth)
		return errs
	}
	if !contains([]string{"object", "array", "string", "integer", "number", "boolean"}, s.Type) {
		bad(".type: %q is no type", s.Type)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Properties)) {
		errs = append(errs, checkSchema(path+".properties."+k, s.Properties[k], depth+1)...)
	}
	for _, k := range s.Required {
		if s.Properties[k] == nil {
			bad(".required: %q is none of the properties", k)
		}
	}
	for i, set := range s.OneOf {
		if len(set.Required) == 0 {
			bad(".oneOf[%d].required: is empty", i)
		}
		for _, k := range set.Required {
			if s.Properties[k] == nil {
				bad(".oneOf[%d].required: %q is none of the properties", i, k)
			}
		}
	}
	errs = append(errs, checkGrant(path, s)...)
	if s.Additional != nil {
		errs = append(errs, checkSchema(path+".additionalProperties", s.Additional, depth+1)...)
	}
	if s.Items != nil {
		errs = append(errs, checkSchema(path+".items", s.Items, depth+1)...)
	}
	if _, err := regexp.Compile(s.Pattern); err != nil {
		bad(".pattern: %v", err)
	}
	if len(errs) == 0 && len(s.Default) > 0 {
		v, err := decode(s.Default)
		if err != nil {
			bad(".default: %v", err)
			return errs
		}
		a := applier{}
		a.apply(path+".default", s, v, 0)
		errs = append(errs, a.errs...)
	}
	return errs
}
