package extract

import (
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
)

var userFields = class{
	field.UserUID:  unsigned(func(e *Event) (uint64, bool) { return uint64(e.ev.Task.UID), true }),
	field.UserName: text(func(e *Event) (string, bool) { u, ok := e.user(e.ev.Task.UID); return u.Name, ok }),
	field.UserHomedir: text(func(e *Event) (string, bool) {
		u, ok := e.user(e.ev.Task.UID)
		return u.Home, ok && u.Home != ""
	}),
	field.UserShell: text(func(e *Event) (string, bool) {
		u, ok := e.user(e.ev.Task.UID)
		return u.Shell, ok && u.Shell != ""
	}),
	field.UserLoginuid: signed(func(e *Event) int64 {
		if e.ev.Task.LoginUID == noID {
			return -1
		}
		return int64(e.ev.Task.LoginUID)
	}),
	field.UserLoginname: text(func(e *Event) (string, bool) {
		if e.ev.Task.LoginUID == noID {
			return "", false
		}
		u, ok := e.user(e.ev.Task.LoginUID)
		return u.Name, ok
	}),
	field.GroupGID:  unsigned(func(e *Event) (uint64, bool) { return uint64(e.ev.Task.GID), true }),
	field.GroupName: text(func(e *Event) (string, bool) { return e.group(e.ev.Task.GID) }),
}

// noID is a user or group id that is not set.
const noID = 0xffffffff

// RootOf is whose names the users and groups of a process have.
func RootOf(id *container.Identity, mntNS uint32) container.Root {
	if id.IsHost() {
		return container.Root{}
	}
	return container.Root{Container: id.Container, MntNS: mntNS}
}

// user returns the user uid as the process's container knows it. Every root is called root, as in Falco.
func (e *Event) user(uid uint32) (container.User, bool) {
	if u, ok := e.x.cfg.Names.User(RootOf(e.id, e.ev.Task.MntNS), uid); ok {
		return u, true
	}
	if uid == 0 {
		return container.User{Name: "root", Home: "/root"}, true
	}
	return container.User{}, false
}

func (e *Event) group(gid uint32) (string, bool) {
	if g, ok := e.x.cfg.Names.Group(RootOf(e.id, e.ev.Task.MntNS), gid); ok {
		return g, true
	}
	if gid == 0 {
		return "root", true
	}
	return "", false
}
