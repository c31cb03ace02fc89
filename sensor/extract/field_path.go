package extract

import "github.com/tiercel-project/tiercel/rules/field"

// Calls that Falco has no arguments of, and what they are about.
var (
	truncate  = generic("truncate")
	ftruncate = generic("ftruncate")
)

func generic(name string) field.EventType {
	t, ok := field.EventTypeByName(name)
	if !ok {
		panic("extract: no event type " + name)
	}
	return t
}

// pathFields are fs.path.*: of calls about paths that succeeded.
var pathFields = class{
	field.FsPathName:      fsPath(fsOnly, false),
	field.FsPathNameraw:   fsPath(fsOnly, true),
	field.FsPathSource:    fsPath(fsSource, false),
	field.FsPathSourceraw: fsPath(fsSource, true),
	field.FsPathTarget:    fsPath(fsTarget, false),
	field.FsPathTargetraw: fsPath(fsTarget, true),
}

// A fsRole is what a path is to its call.
type fsRole uint8

const (
	fsOnly fsRole = iota
	fsSource
	fsTarget
)

// fsPaths says which path plays which part in a call; -1: none. Of links the target is what is linked to, the source the new name.
func fsPaths(t field.EventType) [3]int {
	switch t {
	case field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventCreat, field.EventOpenByHandleAt:
		return [3]int{openPath, -1, -1}
	case field.EventMkdir, field.EventMkdirat, field.EventRmdir, field.EventUnlink, field.EventUnlinkat, field.EventChmod,
		field.EventFchmodat, field.EventChown, field.EventLchown, field.EventFchownat, field.EventUmount, field.EventUmount2,
		field.EventMknod, field.EventMknodat, field.EventQuotactl, truncate:
		return [3]int{firstPath, -1, -1}
	case field.EventFchmod, field.EventFchown, ftruncate:
		return [3]int{openPath, -1, -1}
	case field.EventRename, field.EventRenameat, field.EventRenameat2, field.EventMount:
		return [3]int{-1, firstPath, secondPath}
	case field.EventLink, field.EventLinkat, field.EventSymlink, field.EventSymlinkat:
		return [3]int{-1, secondPath, firstPath}
	}
	return [3]int{-1, -1, -1}
}

func fsPath(role fsRole, raw bool) getter {
	return func(e *Event, _ *field.Ref, form field.Form, v *field.Value) bool {
		i := fsPaths(e.ev.Type)[role]
		if i < 0 || e.ev.Result < 0 {
			return false
		}
		var s string
		switch {
		case i == openPath && raw:
			s = e.ev.Open.Path.Raw
		case raw || role == fsTarget && isSymlink(e.ev.Type):
			s = e.ev.Path[i-firstPath].Raw
		default:
			s = e.form(i, form)
		}
		return s != "" && v.SetString(s)
	}
}

// isSymlink reports whether t makes a symbolic link. What that points to is relative to nothing yet.
func isSymlink(t field.EventType) bool { return t == field.EventSymlink || t == field.EventSymlinkat }
