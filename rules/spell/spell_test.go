package spell_test

import (
	"testing"

	"github.com/tiercel-project/tiercel/rules/spell"
)

func TestNearest(t *testing.T) {
	words := []string{"httpOutput", "fileOutput", "rules", "output", "abc", "abd"}
	for name, want := range map[string]string{
		"rule": "rules", "httpoutput": "httpOutput", "fileOutpt": "fileOutput", "uotput": "output", "ab": "abc", "zzzz": "", "": "",
	} {
		if got := spell.Nearest(name, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
