package filter

import (
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
)

// Opens are dropped for their shape if that alone makes every rule false, and only then.
func TestDroppedShapes(t *testing.T) {
	const read, write, both, dir, makes, failed = 0, 1, 2, shapeDirectory, shapeMakes, shapeFailed
	for _, tt := range []struct {
		name, condition string
		dropped, kept   []int
	}{
		{
			"a file that is read", "evt.type = openat and evt.is_open_read = true and fd.typechar = f and fd.num >= 0 and fd.name = /x",
			[]int{read | dir, write, write | makes, read | failed, both | failed | makes},
			[]int{read, both, both | makes},
		},
		{
			"a file that is written, failed or not", "evt.type = openat and evt.is_open_write = true and fd.name = /x",
			[]int{read, read | dir, read | failed | makes},
			[]int{write, both, write | dir, write | failed},
		},
		{"a file that is made", "evt.type = openat and evt.is_open_create = true", []int{read, write, write | failed | makes}, []int{write | makes}},
		{"a program that is made", "evt.type = openat and evt.is_open_exec = true", []int{read, write | failed}, []int{write | makes, write | makes | failed}},
		{"success", "evt.type = openat and evt.res = SUCCESS", nil, []int{read, read | failed}},
		{"no success", "evt.type = openat and not evt.res = SUCCESS", []int{read, write | makes}, []int{read | failed}},
		{"no descriptor", "evt.type = openat and fd.num < 0", nil, []int{read, read | failed}},
		{"negated", "evt.type = openat and not evt.is_open_read = true", []int{read, both, read | failed}, []int{write, write | failed}},
		{"one of two", "evt.type = openat and (evt.is_open_write = true or fd.typechar = d)", []int{read | failed}, []int{read, read | dir, write}},
		{"nothing known", "evt.type = openat and proc.pname = x", nil, []int{read, write, read | failed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, tt.condition)
			f := p.Filters[field.EventOpenat]
			if f == nil {
				if len(tt.dropped) > 0 {
					t.Fatal("no filter")
				}
				return
			}
			bits, kept := f.Shapes(p)
			if bits&kept != 0 {
				t.Errorf("shapes both dropped and kept: %032b", bits&kept)
			}
			for _, s := range tt.dropped {
				if bits>>s&1 == 0 {
					t.Errorf("an open of shape %05b is not dropped", s)
				}
			}
			for _, s := range tt.kept {
				if bits>>s&1 != 0 {
					t.Errorf("an open of shape %05b is dropped", s)
				}
			}
			p.opts.Shadow = true
			if dropped, _ := f.Shapes(p); dropped != 0 {
				t.Error("opens are dropped that are to be checked")
			}
		})
	}
	if got := ShapesMakingFiles(); got != 1<<8|1<<9|1<<10|1<<11|1<<12|1<<13|1<<14|1<<15 {
		t.Errorf("shapes that make a file: %032b", got)
	}
}

// The early program is left out where it would keep an open for its shape alone, and only there.
func TestKeptShapes(t *testing.T) {
	const read, write, makes, failed = 0, 1, shapeMakes, shapeFailed
	for _, tt := range []struct {
		name, condition string
		kept, other     []int
	}{
		{
			"a file that is read", "evt.type = openat and evt.is_open_read = true and fd.typechar = f and fd.num >= 0 and fd.name = /x",
			[]int{read, read | makes},
			[]int{write, read | failed},
		},
		{"for its number too", "evt.type = openat and evt.is_open_read = true and fd.num > 2 and fd.name = /x", nil, []int{read, write}},
		{"for its error too", "evt.type = openat and evt.res = ENOENT and fd.nameraw contains ../", nil, []int{read, read | failed}},
		{"for the mode too", "evt.type = openat and evt.is_open_exec = true and fd.name = /x", nil, []int{write | makes, write}},
		{"nobody looks later", "evt.type = openat and evt.is_open_read = true", nil, []int{read, write}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, tt.condition)
			_, bits := p.Filters[field.EventOpenat].Shapes(p)
			for _, s := range tt.kept {
				if bits>>s&1 == 0 {
					t.Errorf("an open of shape %05b is not kept", s)
				}
			}
			for _, s := range tt.other {
				if bits>>s&1 != 0 {
					t.Errorf("an open of shape %05b is kept", s)
				}
			}
		})
	}
}
