package function

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxDocument bounds one file of Function documents, in bytes.
const MaxDocument = 1 << 20

// Parse reads the Function documents of one file, separated by ---, and checks all that can be checked without the module. The file's
// name appears in errors only; they are *PosError, joined. On error no document is returned.
func Parse(file string, data []byte) ([]*Document, error) {
	if len(data) > MaxDocument {
		return nil, &PosError{File: file, Line: 1, Col: 1, Err: fmt.Errorf("larger than %d bytes", MaxDocument)}
	}
	var docs []*Document
	var errs []error
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			errs = append(errs, syntaxError(file, err))
			break
		}
		if len(n.Content) == 0 || n.Content[0].Tag == "!!null" {
			continue
		}
		d, err := parseNode(file, n.Content[0])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		docs = append(docs, d)
	}
	if len(errs) == 0 && len(docs) == 0 {
		errs = append(errs, &PosError{File: file, Line: 1, Col: 1, Err: errors.New("holds no document")})
	}
	if len(errs) != 0 {
		return nil, errors.Join(errs...)
	}
	return docs, nil
}

func parseNode(file string, n *yaml.Node) (*Document, error) {
	d := &Document{source: &source{file: file, at: map[string]pos{}}}
	dec := &decoder{src: d.source}
	// Another kind of document has other keys: say that rather than a page of unknown ones.
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if k, v := n.Content[i], n.Content[i+1]; k.Value == "kind" && v.Value != Kind {
			dec.errorf(v, "kind", "", "%q is not %s", v.Value, Kind)
			return nil, errors.Join(dec.errs...)
		}
	}
	dec.decode(n, "", reflect.ValueOf(d).Elem())
	if len(dec.errs) != 0 {
		return nil, errors.Join(dec.errs...)
	}
	d.defaults()
	if err := d.validate(); err != nil {
		return nil, err
	}
	return d, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func syntaxError(file string, err error) error {
	e := &PosError{File: file, Line: 1, Err: err}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if m[1] != "" {
			e.Line, _ = strconv.Atoi(m[1]) // digits
		}
		e.Err = errors.New(m[2])
	}
	e.Col = 1
	return e
}

// Decode reads a document from the JSON that Encode wrote. It has no positions.
func Decode(data []byte) (*Document, error) {
	d := &Document{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("decode function document: %w", err)
	}
	return d, nil
}

// Encode writes the document, defaults filled in, as JSON with sorted configuration: the same document gives the same bytes.
func (d *Document) Encode() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // no field can fail
	}
	return b
}

// Files lists the Function documents below path: the file itself, or every *.yaml and *.yml of the directory and of its
// subdirectories, sorted, whose documents are of our kind. Hidden names are left out.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if p != path && strings.HasPrefix(name, ".") {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(name); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, p)
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}

// ReadFiles parses every document below path and refuses two of the same name. Problems of all files are joined.
func ReadFiles(path string) ([]*Document, error) {
	files, err := Files(path)
	if err != nil {
		return nil, err
	}
	var docs []*Document
	var errs []error
	first := map[string]*Document{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ds, err := Parse(f, data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, d := range ds {
			if o := first[d.Metadata.Token()]; o != nil {
				p := o.source.at["metadata.name"]
				errs = append(errs, d.problem("metadata.name", "", fmt.Errorf("function %q stands in %s:%d as well", d.Metadata.Name, o.source.file, p.line)))
				continue
			}
			first[d.Metadata.Token()] = d
			docs = append(docs, d)
		}
	}
	return docs, errors.Join(errs...)
}

// File returns the file the document was read from, or "".
func (d *Document) File() string {
	if d.source == nil {
		return ""
	}
	return d.source.file
}

// written reports whether the document itself gives path.
func (d *Document) written(path string) bool {
	if d.source == nil {
		return false
	}
	_, ok := d.source.at[path]
	return ok
}

// problem is an error at path, or at the nearest path above it that was written.
func (d *Document) problem(path, near string, err error) *PosError {
	e := &PosError{Path: path, Near: near, Err: err}
	if d.source == nil {
		return e
	}
	e.File, e.Line, e.Col = d.source.file, 1, 1
	for p := path; p != ""; p = parent(p) {
		if at, ok := d.source.at[p]; ok {
			e.Line, e.Col = at.line, at.col
			break
		}
	}
	return e
}

func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// Problem is err at a path of the document, with the place where that was written.
func (d *Document) Problem(path string, err error) error { return d.problem(path, "", err) }
