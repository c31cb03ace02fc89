package rules

import (
	"errors"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/load"
)

// Load reads and compiles rules files in order. It returns the rules and what was found; the Set is nil if, and only if, the Report has
// errors. It looks at nothing but its arguments and, for an empty Options.Hostname, the host's name.
func Load(files []File, opts Options) (*Set, *Report) {
	r := &load.Report{}
	for _, f := range files {
		r.Files = append(r.Files, &load.FileResult{Name: f.Name})
	}
	if len(r.Files) > 0 {
		r.Files[0].Errors = []*load.Problem{{PosError: load.PosError{File: files[0].Name, Err: errors.New("rules are not compiled yet")}, Code: load.ErrExtension}}
	}
	return &Set{}, r
}

// Match appends to dst the rules that ev matches: one at most under Matching First. It allocates nothing when none does.
func (m *Matcher) Match(ev field.Event, dst []*Rule) []*Rule { return dst }

// Alert renders what r says about ev. It must be called before ev is reused.
func (m *Matcher) Alert(r *Rule, ev field.Event) *Alert { return &Alert{Rule: r.Name} }
