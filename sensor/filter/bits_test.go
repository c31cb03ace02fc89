package filter

import (
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
)

// Calls are dropped for bits that an argument lacks if no rule can match without one of them.
func TestNeededBits(t *testing.T) {
	const suid, sgid, sticky = 0o4000, 0o2000, 0o1000
	for _, tt := range []struct {
		name, condition string
		mask            uint32 // 0: none is needed
	}{
		{"one", "evt.type = fchmod and evt.arg.mode contains S_ISUID", suid},
		{"one of two", "evt.type = fchmod and (evt.arg.mode contains S_ISUID or evt.arg.mode contains S_ISGID)", suid | sgid},
		{"with a path", "evt.type = fchmod and evt.arg.mode contains S_ISUID and fd.name startswith /x and proc.name = y", suid},
		{"the fewest", "evt.type = fchmod and (evt.arg.mode contains S_ISUID or evt.arg.mode contains S_ISGID) and evt.arg.mode contains S_ISVTX", sticky},
		{"or something else", "evt.type = fchmod and (evt.arg.mode contains S_ISUID or fd.name startswith /x)", 0},
		{"or another argument", "evt.type = fchmod and (evt.arg.mode contains S_ISUID or evt.arg.fd = 3)", 0},
		{"negated", "evt.type = fchmod and not evt.arg.mode contains S_ISUID", 0},
		{"nothing known", "evt.type = fchmod and proc.pname = x", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, tt.condition)
			f := p.Filters[field.EventFchmod]
			if f == nil {
				if tt.mask != 0 {
					t.Fatal("no filter")
				}
				return
			}
			const mode = 1
			arg, mask, ok := f.NeededBits(p)
			if mask != tt.mask || ok != (tt.mask != 0) || ok && arg != mode {
				t.Errorf("got bits %#o of argument %d (%v), want %#o of argument %d", mask, arg, ok, tt.mask, mode)
			}
			p.opts.Shadow = true
			if _, _, ok := f.NeededBits(p); ok {
				t.Error("calls are dropped that are to be checked")
			}
		})
	}
}
