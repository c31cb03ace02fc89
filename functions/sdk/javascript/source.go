package javascript

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/evanw/esbuild/pkg/api"
)

// New returns the program of a source. file is its name without a folder; its extension says the language. What does not parse is an error
// that begins with file:line:column.
func New(file string, source []byte) (*Program, error) {
	p := &Program{File: file, Source: string(source)}
	switch {
	case !IsSource(file):
		return nil, fmt.Errorf("%s: is no source of JavaScript (.js, .mjs) or TypeScript (.ts, .mts)", file)
	case len(source) > MaxSource:
		return nil, fmt.Errorf("%s: %d bytes, more than %d", file, len(source), MaxSource)
	case !utf8.Valid(source):
		return nil, fmt.Errorf("%s: is not UTF-8", file)
	case strings.ContainsRune(p.Source, 0):
		return nil, fmt.Errorf("%s: has a zero byte in it", file)
	}
	if e := path.Ext(file); e == ".ts" || e == ".mts" {
		return p, p.strip()
	}
	return p, nil
}

// strip makes the script of a source in TypeScript. Types are taken away, not checked.
func (p *Program) strip() error {
	res := api.Transform(p.Source, api.TransformOptions{
		Loader: api.LoaderTS, Target: api.ES2023, Sourcefile: p.File,
		Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude,
	})
	var errs []error
	for _, m := range res.Errors {
		where := p.File
		if m.Location != nil {
			where = fmt.Sprintf("%s:%d:%d", p.File, m.Location.Line, m.Location.Column+1)
		}
		errs = append(errs, fmt.Errorf("%s: SyntaxError: %s", where, m.Text))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	var sourceMap struct {
		Mappings string `json:"mappings"`
	}
	if err := json.Unmarshal(res.Map, &sourceMap); err != nil {
		return fmt.Errorf("%s: %w", p.File, err)
	}
	p.Script, p.Map = string(res.Code), sourceMap.Mappings
	return nil
}

var exportRE = regexp.MustCompile(`^\s*export\s+(?:const|let|var)\s+([A-Za-z_$][\w$]*)`)

// ExportLine returns the line, counted from 1, that an export is declared on; 1 if it cannot be told.
func (p *Program) ExportLine(name string) int {
	n := 0
	for line := range strings.Lines(p.Source) {
		n++
		if m := exportRE.FindStringSubmatch(line); m != nil && m[1] == name {
			return n
		}
	}
	return 1
}

// Import returns where the module of that name is imported, as file:line:column, or the file alone if it cannot be told. Of "./name" the
// engine says name.
func (p *Program) Import(name string) string {
	quoted := regexp.MustCompile(`["'](?:\.\.?/)*` + regexp.QuoteMeta(name) + `["']`)
	for i, line := range strings.Split(p.Source, "\n") {
		at := quoted.FindStringIndex(line)
		if at != nil && (strings.Contains(line, "import") || strings.Contains(line, "from")) {
			return fmt.Sprintf("%s:%d:%d", p.File, i+1, utf8.RuneCountInString(line[:at[0]])+1)
		}
	}
	return p.File
}

// HasSpec reports whether the source exports a spec of its own.
func HasSpec(source []byte) bool {
	for line := range strings.Lines(string(source)) {
		if m := exportRE.FindStringSubmatch(line); m != nil && m[1] == "spec" {
			return true
		}
	}
	return false
}

var keyRE = regexp.MustCompile(`^([A-Za-z_$][\w$]*)(\[0\])?$`)

// Place returns where in the source a part of an exported object is written, by its path ("spec.triggers[0].rules"): as near as can be
// told by its keys. Lines and columns are counted from 1.
func (p *Program) Place(path string) (line, column int) {
	keys := strings.Split(path, ".")
	line = p.ExportLine(keys[0])
	lines := strings.SplitAfter(p.Source, "\n")
	offset := 0
	for _, l := range lines[:line-1] {
		offset += len(l)
	}
	for _, key := range keys[1:] {
		m := keyRE.FindStringSubmatch(key)
		if m == nil {
			break // one of several, or not a name: what is above it is near enough
		}
		re := regexp.MustCompile(`[{,\s](["']?` + regexp.QuoteMeta(m[1]) + `["']?\s*:)`)
		at := re.FindStringSubmatchIndex(p.Source[offset:])
		if at == nil {
			break
		}
		offset += at[2]
	}
	before := p.Source[:offset]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}
