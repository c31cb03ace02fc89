package filter

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	p := program(t, "evt.type in (openat, unlinkat) and fd.name startswith /etc and not proc.pname in (a, b) and (user.uid = 0 or not fd.name contains x)")
	decided, left := Describe(p)
	if diff := cmp.Diff([]string{"evt.type in", "fd.name startswith", "user.uid ="}, decided); diff != "" {
		t.Errorf("decided (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"fd.name startswith", "proc.pname in", "fd.name contains"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}
