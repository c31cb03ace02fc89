package capability

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	o, err := parseObject([]byte(text), "object")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestUndo(t *testing.T) {
	for name, tt := range map[string]struct {
		before, set, after, want string // after: what others made of the object; empty: nobody touched it
		changed                  []string
	}{
		"a label added":                  {`{"l": {"a": 1}}`, `{"l": {"q": 2}}`, ``, `{"l": {"a": 1}}`, nil},
		"the first label":                {`{}`, `{"l": {"q": 2}}`, ``, `{}`, nil},
		"the first label, and another":   {`{}`, `{"l": {"q": 2}}`, `{"l": {"q": 2, "o": 3}}`, `{"l": {"o": 3}}`, nil},
		"changed since":                  {`{"l": {"q": 1}}`, `{"l": {"q": 2}}`, `{"l": {"q": 3}}`, `{"l": {"q": 3}}`, []string{"l.q"}},
		"put back since":                 {`{"l": {"q": 1}}`, `{"l": {"q": 2}}`, `{"l": {"q": 1}}`, `{"l": {"q": 1}}`, nil},
		"removed":                        {`{"l": {"q": 1}}`, `{"l": {"q": null}}`, ``, `{"l": {"q": 1}}`, nil},
		"removed, and the map with it":   {`{"l": {"q": 1}}`, `{"l": {"q": null}}`, `{}`, `{"l": {"q": 1}}`, nil},
		"a list is one value":            {`{"t": [1, 2]}`, `{"t": [3]}`, ``, `{"t": [1, 2]}`, nil},
		"a number where an object was":   {`{"t": {"a": 1}}`, `{"t": 5}`, ``, `{"t": {"a": 1}}`, nil},
		"an object where a number was":   {`{"t": 5}`, `{"t": {"a": 1, "b": null}}`, ``, `{"t": 5}`, nil},
		"removed what was not there":     {`{}`, `{"l": {"q": null}}`, ``, `{}`, nil},
		"whole numbers stay whole":       {`{"r": 3}`, `{"r": 0}`, ``, `{"r": 3}`, nil},
		"one of two was changed by them": {`{"a": 1, "b": 1}`, `{"a": 2, "b": 2}`, `{"a": 2, "b": 9}`, `{"a": 1, "b": 9}`, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			before, set := object(t, tt.before), object(t, tt.set)
			back := former(before, set)
			now, _ := applyMerge(before, set).(map[string]any)
			if !holds(now, set) {
				t.Errorf("%v does not hold in %v", set, now)
			}
			if tt.after != "" {
				now = object(t, tt.after)
			}
			patch, changed := undo(now, set, back, "")
			if diff := cmp.Diff(any(object(t, tt.want)), applyMerge(now, patch)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.changed, changed); diff != "" {
				t.Errorf("changed (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzMergePatch holds what reverts rest on: the difference of two objects leads from one to the other, and undoing a patch that
// nobody interfered with leads back.
func FuzzMergePatch(f *testing.F) {
	f.Add(`{"metadata": {"labels": {"app": "web"}}}`, `{"metadata": {"labels": {"q": "x", "app": null}, "annotations": {"n": "1"}}}`)
	f.Add(`{"spec": {"replicas": 3, "list": [1, {"a": 2}]}}`, `{"spec": {"replicas": 0, "list": null, "new": {"deep": {"er": 1}}}}`)
	f.Add(`{"a": {"b": 1}}`, `{"a": 5}`)
	f.Add(`{"a": {}}`, `{"a": {"b": null}}`)
	f.Fuzz(func(t *testing.T, beforeText, setText string) {
		var before, set map[string]any
		if utiljson.Unmarshal([]byte(beforeText), &before) != nil || utiljson.Unmarshal([]byte(setText), &set) != nil || before == nil || set == nil {
			t.Skip()
		}
		before, _ = applyMerge(nil, before).(map[string]any) // stored objects hold no nulls
		after, _ := applyMerge(before, set).(map[string]any)
		if got := applyMerge(before, difference(before, after)); !cmp.Equal(got, any(after)) {
			t.Errorf("difference:\n%s", cmp.Diff(any(after), got))
		}
		if !holds(after, set) {
			t.Errorf("%v does not hold in %v", set, after)
		}
		back := former(before, set)
		if got := applyMerge(after, back); !cmp.Equal(got, any(before)) {
			t.Errorf("former:\n%s", cmp.Diff(any(before), got))
		}
		patch, changed := undo(after, set, back, "")
		if got := applyMerge(after, patch); !cmp.Equal(got, any(before)) || len(changed) > 0 {
			t.Errorf("undo (changed %v):\n%s", changed, cmp.Diff(any(before), got))
		}
		if _, err := json.Marshal(patch); err != nil {
			t.Error(err)
		}
	})
}
