package sensor

import "testing"

func TestBudget(t *testing.T) {
	var b budget
	taken := 0
	for range 100 {
		if b.take(5e9, 32) {
			taken++
		}
	}
	if taken != 32 {
		t.Errorf("%d in a second, want 32", taken)
	}
	if !b.take(6e9+1, 32) {
		t.Error("none in the next second")
	}
	if !b.take(5e9, 32) {
		t.Error("none at an earlier time")
	}
}
