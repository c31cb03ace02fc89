package field_test

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
)

func TestLookup(t *testing.T) {
	for _, tt := range []struct {
		text  string
		id    field.ID
		arg   string
		index int
	}{
		{"proc.name", field.ProcName, "", -1},
		{"proc.aname", field.ProcAname, "", -1},
		{"proc.aname[2]", field.ProcAname, "2", 2},
		{"proc.args[0]", field.ProcArgs, "0", 0},
		{"proc.env[PATH]", field.ProcEnv, "PATH", -1},
		{`proc.env["A B"]`, field.ProcEnv, "A B", -1},
		{"evt.arg[1]", field.EvtArg, "1", 1},
		{"evt.arg.flags", field.EvtArg, "flags", -1},
		{"evt.args", field.EvtArgs, "", -1},
		{"evt.rawarg.res", field.EvtRawarg, "res", -1},
		{"evt.type.is.open", field.EvtTypeIs, "open", -1},
		{"evt.around[1404996934793590564]", field.EvtAround, "1404996934793590564", -1},
		{"evt.abspath", field.EvtAbspath, "", -1},
		{"evt.abspath.src", field.EvtAbspath, ".src", -1},
		{"thread.cgroup.cpuset", field.ThreadCgroup, "cpuset", -1},
		{"container.mount.dest[/proc*]", field.ContainerMountDest, "/proc*", -1},
		{"container.mount[0]", field.ContainerMount, "0", 0},
		{"jevt.value[/a/b]", field.JevtValue, "/a/b", -1},
		{"ka.req.pod.containers.image[1]", field.KaReqPodContainersImage, "1", 1},
		{"tiercel.lineage[3]", field.TiercelLineage, "3", 3},
	} {
		got, err := field.Lookup(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if want := (field.Ref{ID: tt.id, Arg: tt.arg, Index: tt.index}); got != want {
			t.Errorf("%s: got %+v, want %+v", tt.text, got, want)
		}
		if text := strings.ReplaceAll(tt.text, `"`, ""); got.String() != text {
			t.Errorf("%s: written %s", tt.text, got)
		}
	}
}

func TestLookupError(t *testing.T) {
	for _, tt := range []struct{ text, msg, near string }{
		{"", "filter_check called with nonexistent field ", ""},
		{"proc.namex", "filter_check called with nonexistent field proc.namex", "proc.name"},
		{"porc.name", "filter_check called with nonexistent field porc.name", "proc.name"},
		{"fd.names", "filter_check called with nonexistent field fd.names", "fd.name"},
		{"something.else.entirely", "filter_check called with nonexistent field something.else.entirely", ""},
		{"proc.name[1]", "filter_check called with nonexistent field proc.name[1]", "proc.name"},
		{"evt.arg", "the field 'evt.arg' requires an argument", ""},
		{"evt.arg.", "filter_check called with nonexistent field evt.arg.", "evt.arg"},
		{"evt.arg.flgas", "unknown event argument flgas", "flags"},
		{"evt.rawarg[1]", "filter_check called with nonexistent field evt.rawarg[1]", "evt.rawarg"},
		{"evt.type.is.opem", "unknown event type opem", "open"},
		{"evt.abspath.x", "filter_check called with nonexistent field evt.abspath.x", "evt.abspath.src"},
		{"evt.around[x]", "the argument of field 'evt.around' must be a time in nanoseconds: 'x'", ""},
		{"proc.aname[x]", "the argument of field 'proc.aname' must be a number: 'x'", ""},
		{"proc.aname[-1]", "the argument of field 'proc.aname' must be a number: '-1'", ""},
		{"proc.aname[]", "the field 'proc.aname' requires an argument", ""},
		{"proc.aname[1", "the field 'proc.aname' requires an argument but ']' is not found", ""},
		{"jevt.value", "the field 'jevt.value' requires an argument", ""},
	} {
		ref, err := field.Lookup(tt.text)
		if err == nil {
			t.Errorf("%s: got %v, want an error", tt.text, ref)
			continue
		}
		near := ""
		if e, ok := errors.AsType[*field.UnknownError](err); ok {
			near = e.Near
		}
		if e, ok := errors.AsType[*field.ArgError](err); ok {
			near = e.Near
		}
		if err.Error() != tt.msg || near != tt.near {
			t.Errorf("%s: got %q near %q, want %q near %q", tt.text, err, near, tt.msg, tt.near)
		}
	}
}

func TestRegistry(t *testing.T) {
	if got := len(field.All()); got != 429 || field.NumFields != 429 {
		t.Errorf("%d fields, want 429: Falco's 425 and 4 of ours", got)
	}
	descs := make(map[string]string)
	for _, id := range field.All() {
		info := id.Info()
		if info.Name == "" || info.Type == 0 || info.Class == "" {
			t.Errorf("field %d: incomplete: %+v", id, *info)
		}
		if !strings.HasSuffix(info.Desc, ".") || strings.Count(info.Desc, ". ") > 0 {
			t.Errorf("%s: the description is not one sentence: %q", info.Name, info.Desc)
		}
		if id2, ok := field.ByName(info.Name); !ok || id2 != id {
			t.Errorf("%s: found as %v", info.Name, id2)
		}
		descs[info.Desc] = info.Name
	}
	if len(descs) < 420 { // json.* and jevt.* share theirs
		t.Errorf("only %d different descriptions", len(descs))
	}
	if name := field.ID(60000).String(); name != "" {
		t.Errorf("an unknown field has the name %q", name)
	}
}

func TestEventTypes(t *testing.T) {
	for _, typ := range field.EventTypes() {
		got, ok := field.EventTypeByName(typ.String())
		if !ok || got != typ {
			t.Errorf("%v: found as %v", typ, got)
		}
	}
	if field.EventType(0).String() != "" || field.EventType(65535).String() != "" {
		t.Error("no event has a name")
	}
	if typ, ok := field.EventTypeByName("keyctl"); !ok || typ.Info().Kind != field.Syscall {
		t.Error("keyctl is a modelled system call")
	}
	if typ, ok := field.EventTypeByName("landlock_create_ruleset"); !ok || typ.Info().Kind != field.Generic {
		t.Error("landlock_create_ruleset is a system call that is not modelled")
	}
	i, p, ok := field.EventOpenat2.Param("resolve")
	if want := (field.Param{Name: "resolve", Type: field.ParamFlags32, Format: field.Hex, Names: "openat2_flags"}); !ok || i != 5 || p != want {
		t.Errorf("openat2 resolve: %d, %+v, %v", i, p, ok)
	}
	if flags := field.EventConnect.Info().Flags; flags != field.UsesFD|field.ModifiesState {
		t.Errorf("connect: flags %b", flags)
	}
	if near := field.NearestEvent("exceve"); near != "execve" {
		t.Errorf("nearest to exceve is %q", near)
	}
}

func TestEventSet(t *testing.T) {
	a := field.NewEventSet(field.EventOpen, field.EventWritev, field.EventAccept, 0, 60000)
	if diff := cmp.Diff([]string{"accept", "open", "writev"}, a.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if a.Len() != 3 || !a.Has(field.EventOpen) || a.Has(0) || a.Has(60000) || a.Has(field.EventClose) {
		t.Errorf("got %v", a.Names())
	}
	all := field.AllEvents()
	if all.Len() != len(field.EventTypes()) || all.Has(0) || !all.Complement().Empty() {
		t.Errorf("all events are %d, want %d", all.Len(), len(field.EventTypes()))
	}
	if a.Complement().Union(a) != all || !a.Complement().Intersect(a).Empty() || a.Complement().Complement() != a {
		t.Error("a set and its complement are not what they should be")
	}
	if got := slices.Collect(a.All()); len(got) != 3 || got[1] != field.EventOpen {
		t.Errorf("got %v", got)
	}
}

func TestRefEvents(t *testing.T) {
	for text, want := range map[string]struct {
		open, execve, getcwd, path bool
	}{
		"fd.name":            {true, false, false, true},
		"fd.num":             {true, false, false, false},
		"fd.nameraw":         {true, false, false, false},
		"evt.arg.flags":      {true, true, false, false},
		"evt.arg.path":       {false, false, true, true},
		"evt.arg[4]":         {true, true, false, true},
		"fs.path.name":       {true, false, false, true},
		"proc.name":          {true, true, true, false},
		"evt.num":            {true, true, true, false},
		"ka.verb":            {false, false, false, false},
		"evt.rawarg.resolve": {false, false, false, false},
	} {
		ref, err := field.Lookup(text)
		if err != nil {
			t.Fatal(err)
		}
		s := ref.Events()
		got := [4]bool{s.Has(field.EventOpen), s.Has(field.EventExecve), s.Has(field.EventGetcwd), ref.IsPath()}
		if got != [4]bool{want.open, want.execve, want.getcwd, want.path} {
			t.Errorf("%s: open, execve, getcwd, path: got %v, want %v", text, got, want)
		}
	}
	image, _ := field.Lookup("evt.arg.image")
	if image.Given() {
		t.Error("evt.arg.image is given, though only old events had it")
	}
}

func TestInSource(t *testing.T) {
	for name, want := range map[string][3]bool{ // syscall, k8s_audit, other
		"evt.num": {true, true, true}, "proc.name": {true, false, false}, "ka.verb": {false, true, false}, "jevt.value": {false, true, true},
		"container.id": {true, false, false}, "tiercel.identity": {true, false, false},
	} {
		id, _ := field.ByName(name)
		info := id.Info()
		got := [3]bool{info.InSource("syscall"), info.InSource("k8s_audit"), info.InSource("other")}
		if got != want || !info.InSource("") {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestAppendText(t *testing.T) {
	str := func(s string) *field.Value { v := new(field.Value); v.SetString(s); return v }
	num := func(k field.Kind, n uint64) *field.Value { return &field.Value{Kind: k, Num: n} }
	for _, tt := range []struct {
		typ  field.Type
		v    *field.Value
		want string
	}{
		{field.TypeString, str("a b"), "a b"},
		{field.TypeInt64, num(field.KindInt, math.MaxUint64), "-1"},
		{field.TypeInt32, num(field.KindUint, math.MaxUint64), "-1"},
		{field.TypeUint64, num(field.KindUint, math.MaxUint64), "18446744073709551615"},
		{field.TypeBool, num(field.KindBool, 1), "true"},
		{field.TypeBool, num(field.KindUint, 0), "false"},
		{field.TypeDouble, num(field.KindFloat, math.Float64bits(12.34)), "12.3"},
		{field.TypeIPAddr, &field.Value{Kind: field.KindAddr, Addr: netip.MustParseAddr("::ffff:1.2.3.4")}, "1.2.3.4"},
		{field.TypeIPNet, &field.Value{Kind: field.KindPrefix, Prefix: netip.MustParsePrefix("10.0.0.0/8")}, "10.0.0.0/8"},
		{field.TypeBytes, &field.Value{Kind: field.KindBytes, Str: "a\n\x00é\xff"}, "a\n.é."},
		{field.TypeString, &field.Value{Kind: field.KindList, List: []field.Value{*str("a"), *str("b")}}, "(a,b)"},
		{field.TypeString, &field.Value{Kind: field.KindList}, "()"},
	} {
		if got := string(field.AppendText(nil, tt.typ, tt.v)); got != tt.want {
			t.Errorf("%+v: got %q, want %q", *tt.v, got, tt.want)
		}
	}
}

func FuzzLookup(f *testing.F) {
	for _, s := range []string{"proc.aname[2]", "evt.arg.flags", "proc.env[\"a\"]", "x[", "evt.abspath.src"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := field.Lookup(text)
		if err != nil {
			if ref != (field.Ref{}) {
				t.Fatalf("%q: got %v and %v", text, ref, err)
			}
			return
		}
		again, err := field.Lookup(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is written %q, which is %v, %v", text, ref, again, err)
		}
	})
}
