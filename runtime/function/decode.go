package function

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/rules/spell"
	"go.yaml.in/yaml/v3"
)

// A source remembers where each path of a document was written.
type source struct {
	file string
	at   map[string]pos // by YAML path
}

type pos struct{ line, col int }

// A decoder fills Go values from YAML nodes by their json tags. It reports every problem it meets, not only the first.
type decoder struct {
	src  *source
	errs []error
}

func (d *decoder) errorf(n *yaml.Node, path, near, format string, args ...any) {
	d.errs = append(d.errs, &PosError{File: d.src.file, Line: n.Line, Col: n.Column, Path: path, Near: near, Err: fmt.Errorf(format, args...)})
}

var rawType = reflect.TypeFor[json.RawMessage]()

// decode stores n in v, which is addressable.
func (d *decoder) decode(n *yaml.Node, path string, v reflect.Value) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.src.at[path] = pos{n.Line, n.Column}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // as if it were not there
	}
	switch {
	case v.Type() == rawType:
		d.raw(n, path, v)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, path, v.Elem())
	case v.Kind() == reflect.Struct:
		d.structure(n, path, v)
	case v.Kind() == reflect.Slice:
		d.slice(n, path, v)
	case v.Kind() == reflect.Map:
		d.stringMap(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

func (d *decoder) structure(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, path, "", "is %s where a mapping belongs", kindName(n))
		return
	}
	fields := map[string]int{}
	var names []string
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields[name] = i
			names = append(names, name)
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		p := join(path, key.Value)
		f, ok := fields[key.Value]
		switch {
		case !ok:
			d.errorf(key, p, spell.Nearest(key.Value, names), "unknown key %q", key.Value)
		case seen[key.Value]:
			d.errorf(key, p, "", "the key %q is given twice", key.Value)
		default:
			seen[key.Value] = true
			d.decode(val, p, v.Field(f))
			if val.Line != key.Line {
				d.src.at[p] = pos{key.Line, key.Column} // what is missing in a block is missing below its key
			}
		}
	}
}

func (d *decoder) slice(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, path, "", "is %s where a list belongs", kindName(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		d.decode(c, path+"["+strconv.Itoa(i)+"]", v.Index(i))
	}
}

func (d *decoder) stringMap(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, path, "", "is %s where a mapping belongs", kindName(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		e := reflect.New(v.Type().Elem()).Elem()
		d.decode(n.Content[i+1], join(path, n.Content[i].Value), e)
		v.SetMapIndex(reflect.ValueOf(n.Content[i].Value), e)
	}
}

func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.errorf(n, path, "", "is %s where %s belongs", kindName(n), wants(v))
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			d.errorf(n, path, "", "%w", err)
		}
		return
	}
	ok := false
	switch v.Kind() {
	case reflect.String:
		if ok = n.Tag == "!!str"; ok {
			v.SetString(n.Value)
		}
	case reflect.Bool:
		if ok = n.Tag == "!!bool"; ok {
			v.SetBool(strings.EqualFold(n.Value, "true"))
		}
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 0, 64)
		if ok = n.Tag == "!!int" && err == nil; ok {
			v.SetInt(i)
		}
	default:
		panic("function: no decoder for " + v.Type().String())
	}
	if !ok {
		d.errorf(n, path, "", "is %s where %s belongs", kindName(n), wants(v))
	}
}

// raw keeps the node as JSON, and the place of everything below it.
func (d *decoder) raw(n *yaml.Node, path string, v reflect.Value) {
	d.places(n, path)
	var x any
	if err := n.Decode(&x); err != nil {
		d.errorf(n, path, "", "%v", err)
		return
	}
	b, err := json.Marshal(x)
	if err != nil {
		d.errorf(n, path, "", "cannot be JSON: %v", err)
		return
	}
	v.SetBytes(b)
}

func (d *decoder) places(n *yaml.Node, path string) {
	d.src.at[path] = pos{n.Line, n.Column}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			d.places(n.Content[i+1], join(path, n.Content[i].Value))
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			d.places(c, path+"["+strconv.Itoa(i)+"]")
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	names := map[string]string{"!!str": "text", "!!bool": "a boolean", "!!int": "a number", "!!float": "a number", "!!null": "nothing"}
	if s, ok := names[n.Tag]; ok {
		return fmt.Sprintf("%s (%s)", s, n.Value)
	}
	return n.Tag
}

func wants(v reflect.Value) string {
	switch v.Type() {
	case reflect.TypeFor[Duration]():
		return "a duration"
	case reflect.TypeFor[Size]():
		return "a size"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	}
	return "a whole number"
}

// oneOf reports a value that is none of the allowed ones.
func (d *Document) oneOf(path, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return d.problem(path, spell.Nearest(value, allowed), fmt.Errorf("%q is none of %s", value, strings.Join(allowed, ", ")))
}
