package sensor

import (
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
)

// TestStandardFields: they are in the registry and are given; refs panics else.
func TestStandardFields(t *testing.T) {
	p := Provider()
	for _, list := range [][]field.Ref{taskStandard, lineStandard, execStandard, openStandard, netStandard, callStandard} {
		for i := range list {
			if !p.Field("syscall", &list[i]) {
				t.Errorf("standard field %s is not given", list[i])
			}
		}
	}
}
