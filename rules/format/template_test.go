package format_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/format"
)

// An event has one value of each kind.
type event struct{}

func (event) Type() field.EventType { return field.EventOpen }
func (event) Time() time.Time       { return time.Unix(1, 0) }
func (event) RuleSource() string    { return "syscall" }
func (event) TwoForms() bool        { return false }

func (event) Extract(ref *field.Ref, _ field.Form, v *field.Value) bool {
	switch ref.String() {
	case "proc.name":
		return v.SetString("cat")
	case "proc.cmdline":
		return v.SetString("cat /étc/passwd")
	case "proc.aname":
		v.SetList()
		v.AppendString("bash")
		v.AppendString("sshd")
		return true
	case "proc.aname[2]":
		return v.SetString("sshd")
	case "fd.types":
		v.SetList()
		v.AppendString("file")
		v.AppendString("ipv4")
		return true
	case "fd.num":
		return v.SetInt(-1)
	case "evt.num":
		return v.SetUint(12)
	case "evt.is_open_read":
		return v.SetBool(true)
	case "thread.cpu":
		v.Kind, v.Num = field.KindFloat, 0x3FF8000000000000 // 1.5
		return true
	case "fd.sip":
		return v.SetAddr(netip.MustParseAddr("::ffff:10.0.0.1"))
	case "evt.buffer":
		return v.SetBytes("a\x00b\xff")
	case "evt.arg.flags":
		return v.SetString("O_RDONLY")
	}
	return false
}

func TestAppend(t *testing.T) {
	for _, tt := range []struct{ template, want string }{
		{"", ""},
		{"plain text", "plain text"},
		{"%proc.name", "cat"},
		{"%proc.name.", "cat."},
		{"%proc.name.%proc.name", "cat.cat"},
		{"%proc.names", "cats"},
		{"(%proc.aname[2])", "(sshd)"},
		{"%proc.aname[2", "bash->sshd[2"},
		{"%proc.aname", "bash->sshd"},
		{"%evt.arg.flagsX", "O_RDONLYX"},
		{"[%6proc.name]", "[cat   ]"},
		{"[%2proc.name]", "[ca]"},
		{"[%6proc.cmdline]", "[cat /é]"},
		{"%toupper(proc.name)!", "CAT!"},
		{"%join(\"-\",(proc.name,evt.num))", "cat-12"},
		{"%fd.num %evt.num %evt.is_open_read %thread.cpu %fd.sip", "-1 12 true 1.5 10.0.0.1"},
		{"%fd.types", "(file,ipv4)"},
		{"%evt.buffer", "a.b."},
		{"*%user.name|%6user.name|%2user.name", "<NA>|<NA>  |<N"},
		{"*%toupper(user.name)", "<NA>"},
		{"**%proc.name", "*cat"},
	} {
		tmpl, err := format.Compile(tt.template, "syscall")
		if err != nil {
			t.Errorf("%s: %v", tt.template, err)
			continue
		}
		got, ok := tmpl.Append([]byte(">"), event{}, new(field.Value))
		if string(got) != ">"+tt.want || !ok {
			t.Errorf("%s: got %q, %v; want %q", tt.template, got, ok, tt.want)
		}
	}
}

func TestAppendMissing(t *testing.T) {
	tmpl, err := format.Compile("user %user.name", "")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := tmpl.Append([]byte(">"), event{}, new(field.Value)); ok || string(got) != ">" {
		t.Errorf("got %q, %v; want nothing added", got, ok)
	}
}

func TestCompileError(t *testing.T) {
	for _, tt := range []struct {
		template, msg, near string
		offset              int
		unknown             bool
	}{
		{"a %not_a_real_field", "invalid formatting token not_a_real_field", "", 2, true},
		{"%proc.nmae", "invalid formatting token proc.nmae", "proc.name", 0, true},
		{"%ka.verb", "invalid formatting token ka.verb", "", 0, true},
		{"100%", "invalid formatting token ", "", 3, true},
		{"*%5", "invalid formatting token ", "", 1, true},
		{"%% done", "invalid formatting token %", "", 0, true},
		{"%fd.net x", "invalid formatting token fd.net: field 'fd.net' is for conditions only", "", 0, false},
		{"%toupper(proc.aname)", "does not support transformers", "", 0, false},
		{"%val(proc.name)", "invalid formatting token val(proc.name)", "", 0, true},
	} {
		_, err := format.Compile(tt.template, "syscall")
		var got *format.Error
		if !errors.As(err, &got) {
			t.Errorf("%s: got %v, want an error", tt.template, err)
			continue
		}
		if !strings.Contains(got.Msg, tt.msg) || got.Near != tt.near || got.Offset != tt.offset || got.Unknown != tt.unknown {
			t.Errorf("%s: got %+v, want %+v", tt.template, *got, tt)
		}
	}
}

func TestFields(t *testing.T) {
	tmpl, err := format.Compile("%proc.name %proc.name %fd.num %evt.num %evt.is_open_read %thread.cpu %fd.types %proc.aname %user.name %toupper(fd.name)", "")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]any)
	var json []byte
	for _, f := range tmpl.Fields() {
		got[f.Name] = f.Value(event{})
		json = append(f.AppendJSON(json, event{}), ' ')
	}
	want := map[string]any{
		"proc.name": "cat", "fd.num": int64(-1), "evt.num": uint64(12), "evt.is_open_read": true, "thread.cpu": 1.5,
		"fd.types": []any{"file", "ipv4"}, "proc.aname": "bash->sshd", "user.name": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if got, want := string(json), `"cat" -1 12 true 1.5 ["file","ipv4"] "bash->sshd" null `; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var refs []string
	for _, r := range tmpl.Refs() {
		refs = append(refs, r.String())
	}
	if refs[len(refs)-1] != "fd.name" || len(refs) != 9 {
		t.Errorf("uses of fields: %v", refs)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"*%proc.name %12evt.num.", "%toupper(proc.name)[x]", "%join(',',(proc.name))%", "%proc.aname[", "%a.b.c.d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl, err := format.Compile(text, "")
		if (tmpl == nil) == (err == nil) {
			t.Fatalf("got both or neither: %v, %v", tmpl, err)
		}
		if err == nil {
			tmpl.Append(nil, event{}, new(field.Value))
			tmpl.Fields()
		} else if e, ok := errors.AsType[*format.Error](err); !ok || e.Offset < 0 || e.Offset >= len(text) || text[e.Offset] != '%' {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
