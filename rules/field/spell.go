package field

import (
	"maps"
	"slices"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// Nearest returns the field whose name is nearest to name, or "" if none is near enough to be what was meant.
func Nearest(name string) string { return spell.Nearest(name, slices.Collect(maps.Keys(byName))) }

// NearestEvent returns the event type whose name is nearest to name, or "".
func NearestEvent(name string) string {
	return spell.Nearest(name, slices.Collect(maps.Keys(eventByName)))
}
