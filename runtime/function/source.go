package function

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A Source is a file with a function's source that brings its document itself.
type Source struct {
	File     string                               // path
	Module   string                               // how its document refers to the file
	Manifest abi.Manifest                         // its name becomes the function's
	Spec     []byte                               // the document's spec, JSON, without module
	Place    func(path string) (line, column int) // where a path of the document is written in File
}

// FromSource makes a source's document and checks it as Parse does. Where the spec has no grants, it grants what the manifest needs of
// Kubernetes, kv and artifacts: whoever deploys the file deploys both. URLs and secrets are always to be granted.
func FromSource(s Source) (*Document, error) {
	var n yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(s.Spec)).Decode(&n); err != nil || len(n.Content) == 0 || n.Content[0].Kind != yaml.MappingNode {
		line, col := s.Place("spec")
		return nil, &PosError{File: s.File, Line: line, Col: col, Path: "spec", Err: errors.New("is not an object")}
	}
	spec := n.Content[0]
	s.move(spec, "spec")
	has := map[string]bool{}
	for i := 0; i < len(spec.Content); i += 2 {
		key := spec.Content[i]
		has[key.Value] = true
		if key.Value == "module" {
			return nil, &PosError{File: s.File, Line: key.Line, Col: key.Column, Path: "spec.module", Err: errors.New("the module is this file: leave it out")}
		}
	}
	add := map[string]any{"module": s.Module}
	if !has["grants"] {
		if grants := s.grants(); len(grants) > 0 {
			add["grants"] = grants
		}
	}
	head, err := yamlNode(map[string]any{
		"apiVersion": APIVersion, "kind": Kind, "metadata": map[string]any{"name": s.Manifest.Name}, "spec": add,
	})
	if err != nil {
		return nil, err
	}
	s.move(head, "")
	for i := 0; i < len(head.Content); i += 2 {
		if head.Content[i].Value == "spec" {
			head.Content[i+1].Content = append(head.Content[i+1].Content, spec.Content...)
		}
	}
	d := &Document{source: &source{file: s.File, at: map[string]pos{}}}
	dec := &decoder{src: d.source}
	dec.decode(head, "", reflect.ValueOf(d).Elem())
	if len(dec.errs) != 0 {
		return nil, errors.Join(dec.errs...)
	}
	d.defaults()
	if err := d.validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// grants is what the manifest needs that is not optional, as a document grants it.
func (s *Source) grants() map[string]any {
	g := map[string]any{}
	var kube []any
	for _, n := range s.Manifest.Needs.Kubernetes {
		if !n.Optional {
			kube = append(kube, map[string]any{"apiGroups": n.APIGroups, "resources": n.Resources, "verbs": n.Verbs})
		}
	}
	if kube != nil {
		g["kubernetes"] = kube
	}
	if s.Manifest.Needs.KV {
		g["kv"] = true
	}
	if s.Manifest.Needs.Artifacts {
		g["artifacts"] = true
	}
	return g
}

func yamlNode(v any) (*yaml.Node, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("make the document: %w", err)
	}
	return n.Content[0], nil
}

// move gives a node and all below it the places of their paths.
func (s *Source) move(n *yaml.Node, path string) {
	place := path
	if !strings.HasPrefix(path, "spec") {
		place = "spec" // the head is not written anywhere
	}
	n.Line, n.Column = s.Place(place)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below := join(path, n.Content[i].Value)
			s.move(n.Content[i+1], below)
			n.Content[i].Line, n.Content[i].Column = n.Content[i+1].Line, n.Content[i+1].Column
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			s.move(c, path+"["+strconv.Itoa(i)+"]")
		}
	}
}
