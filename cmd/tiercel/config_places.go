package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// places says where the values of the configuration were given, by YAML path: "recorder.keep". What has its default is not among them.
type places map[string]place

type place struct {
	text  string // "tiercel.yaml:3:9", "--output" or "environment TIERCEL_OUTPUT"
	named bool   // text names the value too
}

// add notes where the value of path, and all that is in it, stands in file; what the command line or the environment gave wins.
func (p places) add(file, path string, value *yaml.Node) {
	if _, given := p[path]; !given {
		p[path] = place{text: fmt.Sprintf("%s:%d:%d", file, value.Line, value.Column)}
	}
	switch value.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(value.Content); i += 2 {
			p.add(file, path+"."+value.Content[i].Value, value.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, item := range value.Content {
			p.add(file, path+"["+strconv.Itoa(i)+"]", item)
		}
	}
}

// locate has each error that begins with the YAML path of a value say where that value was given.
func (p places) locate(err error) error {
	var out []error
	for _, err := range flatten(err) {
		path, rest, ok := strings.Cut(err.Error(), ": ")
		if !ok {
			out = append(out, err)
			continue
		}
		switch at := p.nearest(path); {
		case at.text == "":
			out = append(out, err)
		case at.named:
			out = append(out, fmt.Errorf("%s: %s", at.text, rest))
		default:
			out = append(out, fmt.Errorf("%s: %w", at.text, err))
		}
	}
	return errors.Join(out...)
}

// nearest returns the place of path, or else of the innermost value that holds it.
func (p places) nearest(path string) place {
	for {
		if at, ok := p[path]; ok {
			return at
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return place{}
		}
		path = path[:i]
	}
}

// flatten returns the errors that were joined in err, however deep.
func flatten(err error) []error {
	j, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, err := range j.Unwrap() {
		all = append(all, flatten(err)...)
	}
	return all
}
