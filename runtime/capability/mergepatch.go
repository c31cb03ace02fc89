package capability

import (
	"maps"
	"reflect"
	"slices"
)

// Merge patches (RFC 7396) are the form in which writes to existing objects are made canonical, compared and taken back.

// applyMerge returns v with patch applied; v is not changed.
func applyMerge(v any, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	old, _ := v.(map[string]any)
	merged := maps.Clone(old)
	if merged == nil {
		merged = map[string]any{}
	}
	for k, pv := range p {
		if pv == nil {
			delete(merged, k)
			continue
		}
		merged[k] = applyMerge(merged[k], pv)
	}
	return merged
}

// former returns the merge patch that puts back what patch would change in v: the values there now, null where there is none. With
// an object in patch where v has none, it is one null for the whole.
func former(v map[string]any, patch map[string]any) map[string]any {
	back := map[string]any{}
	for k, pv := range patch {
		now, there := v[k]
		pm, patchIsObject := pv.(map[string]any)
		nm, nowIsObject := now.(map[string]any)
		switch {
		case !there || now == nil:
			back[k] = nil
		case patchIsObject && nowIsObject:
			back[k] = former(nm, pm)
		default:
			back[k] = now
		}
	}
	return back
}

// difference returns the merge patch that turns from into to.
func difference(from, to map[string]any) map[string]any {
	d := map[string]any{}
	for k, tv := range to {
		fv, there := from[k]
		fm, fromIsObject := fv.(map[string]any)
		tm, toIsObject := tv.(map[string]any)
		switch {
		case !there:
			d[k] = tv
		case fromIsObject && toIsObject:
			if sub := difference(fm, tm); len(sub) > 0 {
				d[k] = sub
			}
		case !reflect.DeepEqual(fv, tv):
			d[k] = tv
		}
	}
	for k := range from {
		if _, there := to[k]; !there {
			d[k] = nil
		}
	}
	return d
}

// holds reports whether every field that patch names has the value it names in v: applying it would change nothing.
func holds(v map[string]any, patch map[string]any) bool {
	for k, pv := range patch {
		now, there := v[k]
		pm, isObject := pv.(map[string]any)
		if !isObject {
			if pv == nil && there && now != nil || pv != nil && !reflect.DeepEqual(now, pv) {
				return false
			}
			continue
		}
		nm, _ := now.(map[string]any)
		if !holds(nm, pm) {
			return false
		}
	}
	return true
}

// undo returns the part of back (what former gave for set) whose fields still hold what set put there, and the paths of those that
// somebody has changed since and that are therefore left alone.
func undo(v, set, back map[string]any, prefix string) (patch map[string]any, changed []string) {
	patch = map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(back)) {
		now, bv, path := v[k], back[k], prefix+k
		sm, setIsObject := set[k].(map[string]any)
		bm, backIsObject := bv.(map[string]any)
		nm, nowIsObject := now.(map[string]any)
		switch {
		case setIsObject && backIsObject && (nowIsObject || now == nil): // an empty map is often left out of what is stored
			sub, c := undo(nm, sm, bm, path+".")
			if changed = append(changed, c...); len(sub) > 0 {
				patch[k] = sub
			}
		case setIsObject && nowIsObject && bv == nil:
			// The object was not there before. Fields that others have put beside ours keep it alive.
			if reflect.DeepEqual(now, applyMerge(nil, sm)) {
				patch[k] = nil
				continue
			}
			sub, c := undo(nm, sm, nulls(sm), path+".")
			if changed = append(changed, c...); len(sub) > 0 {
				patch[k] = sub
			}
		case reflect.DeepEqual(now, applyMerge(nil, set[k])):
			if !reflect.DeepEqual(now, bv) {
				patch[k] = bv
			}
		case reflect.DeepEqual(now, bv): // back already
		default:
			changed = append(changed, path)
		}
	}
	return patch, changed
}

// nulls returns m with null for each value, level by level not descended: what undoes fields of an object that was not there.
func nulls(m map[string]any) map[string]any {
	n := make(map[string]any, len(m))
	for k := range m {
		n[k] = nil
	}
	return n
}
