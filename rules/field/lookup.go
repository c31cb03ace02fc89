package field

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// An UnknownError says that no field of a name exists.
type UnknownError struct {
	Name string // as written, with its argument
	Near string // the nearest name of a field; empty if none is near
}

func (e *UnknownError) Error() string {
	return "filter_check called with nonexistent field " + e.Name
}

// An ArgError says that a field is there but its argument is not what it takes.
type ArgError struct {
	Name string // as written, with its argument
	Msg  string
	Near string // the nearest name where the argument is one; empty if none is near
}

func (e *ArgError) Error() string { return e.Msg }

// NumFields is the number of fields in the registry.
const NumFields = int(numIDs) - 1

var byName = func() map[string]ID {
	m := make(map[string]ID, numIDs)
	for id := ID(1); id < numIDs; id++ {
		m[table[id].Name] = id
	}
	return m
}()

// ByName returns the field called name, without an argument.
func ByName(name string) (ID, bool) {
	id, ok := byName[name]
	return id, ok
}

// All returns the fields of the registry in its order.
func All() []ID {
	ids := make([]ID, 0, NumFields)
	for id := ID(1); id < numIDs; id++ {
		ids = append(ids, id)
	}
	return ids
}

// Info describes the field id. The caller must not change it.
func (id ID) Info() *Info {
	if id >= numIDs {
		id = 0
	}
	return &table[id]
}

// String is the name of the field.
func (id ID) String() string { return id.Info().Name }

// String is the text of the use of the field, as Lookup takes it.
func (r Ref) String() string {
	name := r.ID.String()
	switch {
	case r.Arg == "":
		return name
	case dotArg(r.ID) && r.Index < 0:
		if r.ID == EvtAbspath {
			return name + r.Arg
		}
		return name + "." + r.Arg
	}
	return name + "[" + r.Arg + "]"
}

// Lookup resolves the text of one use of a field: "proc.name", "proc.aname[2]", "evt.arg.flags". The whole text must be the field and its
// argument. Errors are *UnknownError and *ArgError.
func Lookup(text string) (Ref, error) {
	open := strings.IndexByte(text, '[')
	if open < 0 {
		return Resolve(text, "", false)
	}
	if !strings.HasSuffix(text, "]") {
		return Ref{}, &ArgError{Name: text, Msg: fmt.Sprintf("the field '%s' requires an argument but ']' is not found", text[:open])}
	}
	arg := text[open+1 : len(text)-1]
	if n := len(arg); n >= 2 && (arg[0] == '"' || arg[0] == '\'') && arg[n-1] == arg[0] {
		arg = arg[1 : n-1]
	}
	return Resolve(text[:open], arg, true)
}

// Resolve is Lookup for a name and the argument that stood in brackets behind it; hasArg tells an empty argument from none.
func Resolve(name, arg string, hasArg bool) (Ref, error) {
	ref, err := resolve(name, arg, hasArg)
	if unknown, ok := errors.AsType[*UnknownError](err); ok && unknown.Near == "" {
		unknown.Near = Nearest(name)
	}
	return ref, err
}

// Known reports whether Resolve would succeed. It is cheaper where most names are not known.
func Known(name, arg string, hasArg bool) bool {
	_, err := resolve(name, arg, hasArg)
	return err == nil
}

func resolve(name, arg string, hasArg bool) (Ref, error) {
	text := name
	if hasArg {
		text += "[" + arg + "]"
	}
	id, ok := byName[name]
	if !ok {
		if id, arg, ok = splitDotArg(name); !ok || hasArg {
			return Ref{}, &UnknownError{Name: text}
		}
		return resolveDotArg(id, arg, text)
	}
	ref := Ref{ID: id, Arg: arg, Index: -1}
	switch flags := id.Info().Flags; {
	case !hasArg && flags&FlagArgRequired != 0 && id != EvtAbspath:
		return Ref{}, &ArgError{Name: text, Msg: fmt.Sprintf("the field '%s' requires an argument", name)}
	case !hasArg:
		return ref, nil
	case flags&(FlagArgAllowed|FlagArgRequired|FlagArgIndex|FlagArgKey) == 0 || dotOnly(id):
		return Ref{}, &UnknownError{Name: text, Near: name}
	}
	return resolveArg(ref, text)
}

// resolveArg checks the bracketed argument of ref against what its field takes.
func resolveArg(ref Ref, text string) (Ref, error) {
	info := ref.ID.Info()
	if ref.Arg == "" {
		return Ref{}, &ArgError{Name: text, Msg: fmt.Sprintf("the field '%s' requires an argument", info.Name)}
	}
	if ref.ID == EvtAround {
		return resolveAround(ref, text)
	}
	if n, err := strconv.ParseInt(ref.Arg, 10, 32); err == nil && n >= 0 {
		ref.Index = int(n)
	}
	if argIndexOnly(ref.ID) && ref.Index < 0 {
		return Ref{}, &ArgError{Name: text, Msg: fmt.Sprintf("the argument of field '%s' must be a number: '%s'", info.Name, ref.Arg)}
	}
	return ref, nil
}

// resolveAround checks the argument of evt.around: a time in nanoseconds.
func resolveAround(ref Ref, text string) (Ref, error) {
	if _, err := strconv.ParseUint(ref.Arg, 10, 64); err != nil {
		return Ref{}, &ArgError{Name: text, Msg: fmt.Sprintf("the argument of field 'evt.around' must be a time in nanoseconds: '%s'", ref.Arg)}
	}
	return ref, nil
}

// splitDotArg splits a name such as evt.arg.flags into the field evt.arg and the argument flags.
func splitDotArg(name string) (id ID, arg string, ok bool) {
	for _, id := range [...]ID{EvtArg, EvtRawarg, EvtTypeIs, ThreadCgroup, EvtAbspath} {
		if arg, ok := strings.CutPrefix(name, id.Info().Name+"."); ok && arg != "" {
			return id, arg, true
		}
	}
	return 0, "", false
}

// resolveDotArg checks the argument behind the dot.
func resolveDotArg(id ID, arg, text string) (Ref, error) {
	ref := Ref{ID: id, Arg: arg, Index: -1}
	switch id {
	case EvtArg, EvtRawarg:
		if _, ok := paramTypes[arg]; !ok {
			return Ref{}, &ArgError{Name: text, Msg: "unknown event argument " + arg, Near: spell.Nearest(arg, slices.Collect(maps.Keys(paramTypes)))}
		}
	case EvtTypeIs:
		if _, ok := eventByName[arg]; !ok {
			return Ref{}, &ArgError{Name: text, Msg: "unknown event type " + arg, Near: NearestEvent(arg)}
		}
	case EvtAbspath:
		if arg != "src" && arg != "dst" {
			return Ref{}, &UnknownError{Name: text, Near: "evt.abspath.src"}
		}
		ref.Arg = "." + arg
	}
	return ref, nil
}

// dotArg reports whether the argument of id may stand behind a dot.
func dotArg(id ID) bool {
	return id == EvtArg || id == EvtRawarg || id == EvtTypeIs || id == ThreadCgroup || id == EvtAbspath
}

// dotOnly reports whether the argument of id may not stand in brackets.
func dotOnly(id ID) bool { return dotArg(id) && id != EvtArg }

// argIndexOnly reports whether the bracketed argument of id must be a number.
func argIndexOnly(id ID) bool {
	switch id {
	case EvtArg, ProcAname, ProcAexe, ProcAexepath, ProcAcmdline, ProcApid, ProcAargs, ProcArgs, FDTypes:
		return true
	}
	flags := id.Info().Flags
	return flags&FlagArgIndex != 0 && flags&FlagArgKey == 0
}
