package scenarios

import (
	"strings"
	"testing"
)

// Every table can be read, every rule has a near miss, and every script has balanced quotes.
func TestTables(t *testing.T) {
	files, err := FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".yaml") || f.Name() == "tuning.yaml" {
			continue
		}
		list, err := Load(f.Name())
		if err != nil {
			t.Error(err)
		}
		if len(list) == 0 {
			t.Errorf("%s is empty", f.Name())
		}
		for _, s := range list {
			if s.Event == "" && s.Bypass == "" && s.Why == "" && s.Near == nil {
				t.Errorf("%s: %s has no near miss", f.Name(), s.Rule)
			}
			if strings.Count(s.Act.Do, `"`)%2 != 0 {
				t.Errorf("%s: unbalanced quotes: %s", f.Name(), s.Act.Do)
			}
		}
	}
}
