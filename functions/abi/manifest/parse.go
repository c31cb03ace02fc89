package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"

	"github.com/tiercel-project/tiercel/functions/abi"
)

var (
	nameRE     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	groupRE    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	resourceRE = regexp.MustCompile(`^[a-z0-9]+(/[a-z]+)?$`)
)

var verbs = []string{"get", "list", "create", "patch", "delete"}

// Parse reads a manifest from JSON and checks it. Unknown keys are errors. It names all problems it finds, joined.
func Parse(data []byte) (abi.Manifest, error) {
	var m abi.Manifest
	if len(data) > abi.MaxManifest {
		return m, fmt.Errorf("%d bytes, more than %d", len(data), abi.MaxManifest)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return m, position(data, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return m, errors.New("something follows the manifest's object")
	}
	if err := check(&m); err != nil {
		return abi.Manifest{}, err
	}
	return m, nil
}

// unknownKey says which keys there are, where err is about one that there is not: encoding/json knows it by its text alone.
func unknownKey(err error) error {
	name, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return err
	}
	return fmt.Errorf("unknown key %s: a manifest has %s; its needs have %s; one of needs.kubernetes has %s", name,
		keys(reflect.TypeFor[abi.Manifest]()), keys(reflect.TypeFor[abi.Needs]()), keys(reflect.TypeFor[abi.KubernetesNeed]()))
}

func keys(t reflect.Type) string {
	var names []string
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// position adds line and column to an error of encoding/json that knows its offset.
func position(data []byte, err error) error {
	var offset int64
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	} else if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = e.Offset
	} else {
		return unknownKey(err)
	}
	before := data[:min(int(offset), len(data))]
	return fmt.Errorf("line %d, column %d: %w", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n')-1, err)
}

func check(m *abi.Manifest) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if m.ABI != abi.ImportModule {
		bad("abi: %q; this runtime knows %q", m.ABI, abi.ImportModule)
	}
	if !nameRE.MatchString(m.Name) {
		bad("name: %q is not a DNS label (lower-case letters, digits, \"-\")", m.Name)
	}
	if m.Version == "" || len(m.Version) > 64 || strings.ContainsAny(m.Version, " \t\n") {
		bad("version: %q; want 1 to 64 characters without space", m.Version)
	}
	for i, n := range m.Needs.Kubernetes {
		checkNeed(fmt.Sprintf("needs.kubernetes[%d]", i), n, bad)
	}
	if m.Config != nil {
		if m.Config.Type != "object" {
			bad("config.type: %q; want \"object\"", m.Config.Type)
		}
		errs = append(errs, checkSchema("config", m.Config, 0)...)
	}
	return errors.Join(errs...)
}

func checkNeed(path string, n abi.KubernetesNeed, bad func(string, ...any)) {
	if len(n.APIGroups) == 0 || len(n.Resources) == 0 || len(n.Verbs) == 0 {
		bad("%s: apiGroups, resources and verbs each need an entry", path)
	}
	for _, g := range n.APIGroups {
		if g != "" && !groupRE.MatchString(g) {
			bad("%s.apiGroups: %q is not the name of a group", path, g)
		}
	}
	for _, r := range n.Resources {
		if !resourceRE.MatchString(r) {
			bad("%s.resources: %q is not a plural, lower-case resource or resource/subresource", path, r)
		}
	}
	for _, v := range n.Verbs {
		if !contains(verbs, v) {
			bad("%s.verbs: %q is none of %s", path, v, strings.Join(verbs, ", "))
		}
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
