package extract

import (
	"path"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// pathForms are the two forms of a path, made when first asked for.
type pathForms struct {
	passed, resolved string
	made             bool
}

// Indexes into Event.paths.
const (
	openPath = iota
	firstPath
	secondPath
)

// unknownDir is what Falco writes for a directory it does not know.
const unknownDir = "<UNKNOWN>"

// path returns the forms of path i. Where the walk is not known, both are the same.
func (e *Event) path(i int) *pathForms {
	f := &e.paths[i]
	if f.made {
		return f
	}
	f.made = true
	p := &e.ev.Open.Path
	if i > openPath {
		p = &e.ev.Path[i-firstPath]
	}
	f.passed = e.absolute(p)
	if f.resolved = p.Resolved; f.resolved == "" {
		f.resolved = f.passed
	}
	if f.passed == "" {
		f.passed = f.resolved
	}
	return f
}

// form returns path i in the form asked for.
func (e *Event) form(i int, form field.Form) string {
	f := e.path(i)
	if form == field.Resolved {
		return f.resolved
	}
	return f.passed
}

// absolute returns the path as passed, absolute and cleaned lexically.
func (e *Event) absolute(p *event.Path) string {
	raw := p.Raw
	switch {
	case raw == "":
		return ""
	case raw[0] == '/' && p.Dir == "":
		return clean(raw)
	case p.Dir == "":
		return e.concat(unknownDir, "/", raw)
	case clean(p.Dir) == p.Dir && simple(raw): // the common case, without allocation
		if p.Dir == "/" {
			return e.concat("/", raw)
		}
		return e.concat(p.Dir, "/", raw)
	}
	return clean(p.Dir + "/" + raw) // an absolute path below a directory: RESOLVE_IN_ROOT
}

// clean is path.Clean; it returns p itself if there is nothing to clean.
func clean(p string) string { return path.Clean(p) }

// simple reports whether the relative path p has nothing to clean.
func simple(p string) bool {
	if p[0] == '/' || p[len(p)-1] == '/' || strings.Contains(p, "//") {
		return false
	}
	for i := 0; i < len(p); i++ { // a component that is "." or ".."
		if p[i] == '.' && (i == 0 || p[i-1] == '/') {
			rest := p[i+1:]
			if rest == "" || rest[0] == '/' || rest == "." || strings.HasPrefix(rest, "./") {
				return false
			}
		}
	}
	return true
}

// squeeze replaces runs of slashes in p by one: what fd.nameraw does.
func (e *Event) squeeze(p string) string {
	if !strings.Contains(p, "//") {
		return p
	}
	start := len(e.buf)
	for i := 0; i < len(p); i++ {
		if p[i] != '/' || i == 0 || p[i-1] != '/' {
			e.buf = append(e.buf, p[i])
		}
	}
	return e.string(start)
}

// dirOf is the directory of a file's name as fd.directory has it.
func dirOf(name string) string {
	i := strings.LastIndexByte(name, '/')
	switch {
	case i <= 0:
		return "/"
	case i == len(name)-1:
		return name
	}
	return name[:i]
}

// baseOf is the last component of a file's name as fd.filename has it.
func baseOf(name string) string {
	i := strings.LastIndexByte(name, '/')
	switch {
	case i < 0:
		return "/"
	case i == len(name)-1:
		return name
	}
	return name[i+1:]
}
