package match_test

import (
	"slices"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

// With a modifier the event types are those that the check holds for, no more.
func TestEventTypesOfModifiers(t *testing.T) {
	all := field.AllEvents()
	set := func(types ...field.EventType) field.EventSet { return field.NewEventSet(types...) }
	const open, closed = field.EventOpen, field.EventClose
	for _, tt := range []struct {
		text string
		want field.EventSet
	}{
		{"evt.type = oneof (open, close)", set(open, closed)},
		{"evt.type = oneof (open, open, close)", set(closed)},
		{"evt.type = anyof (open, close)", set(open, closed)},
		{"evt.type = allof (open, open)", set(open)},
		{"evt.type = allof (open, close)", set()},
		{"evt.type != oneof (open)", set(open).Complement()},
		{"evt.type != oneof (open, close)", set(open, closed)},
		{"evt.type != anyof (open, close)", all},
		{"evt.type != anyof (open, open)", set(open).Complement()},
		{"evt.type != allof (open, close)", set(open, closed).Complement()},
		{"evt.type = oneof ()", set()},
		{"evt.type != allof ()", set()},
		{"not evt.type != allof (open, close)", set(open, closed)},
		{"not evt.type = anyof ()", all},
	} {
		e, err := filter.Parse(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := match.EventTypes(e)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %v (%v), want %v", tt.text, slices.Sorted(slices.Values(got.Names())), err, tt.want.Names())
		}
		p := mustCompile(t, tt.text)
		for _, name := range []string{"open", "close", "connect"} {
			typ, _ := field.EventTypeByName(name)
			checkMatch(t, p, newEvent(map[string]any{"evt.type": name}), tt.want.Has(typ))
		}
	}
}
