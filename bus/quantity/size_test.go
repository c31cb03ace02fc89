package quantity

import (
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"64Mi": 64 << 20, "1Gi": 1 << 30, "10M": 10e6, "512Ki": 512 << 10, "123": 123, "0": 0} {
		s, err := ParseSize(text)
		if err != nil || s != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
		if again, err := ParseSize(s.String()); err != nil || again != s {
			t.Errorf("%s written as %s is read as %v, %v", text, s, again, err)
		}
	}
	for _, text := range []string{"", "-1", "64MB", "Mi", "9223372036854775807Gi"} {
		if s, err := ParseSize(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}

// TestDocuments: JSON and YAML have plain numbers as well, and what is wrong does not hide what else is.
func TestDocuments(t *testing.T) {
	var in struct {
		A Size            `json:"a" yaml:"a"`
		B map[string]Size `json:"b" yaml:"b"`
	}
	for name, decode := range map[string]func([]byte, any) error{"JSON": json.Unmarshal, "YAML": yaml.Unmarshal} {
		if err := decode([]byte(`{"a": "2Mi", "b": {"c": 12}}`), &in); err != nil || in.A != 2<<20 || in.B["c"] != 12 {
			t.Errorf("%s: got %+v, %v", name, in, err)
		}
	}
	err := yaml.Unmarshal([]byte("a: 2MB\nb:\n  c: [1]\n  d: -1\n"), &in)
	for _, want := range []string{`line 1: "2MB" is no size in bytes`, "line 3: cannot unmarshal !!seq", `line 4: "-1" is no size`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
