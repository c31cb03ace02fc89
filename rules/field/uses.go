package field

// InSource reports whether rules of source may use the field. Every source has the fields about any event; "syscall" has those of system
// calls, processes and containers, "k8s_audit" those of audit events, and every source but "syscall" those of JSON events. All fields are
// in the empty source.
func (i *Info) InSource(source string) bool {
	switch i.Class {
	case "evt (All event types)":
		return true
	case "k8saudit plugin":
		return source == "" || source == "k8s_audit"
	case "json plugin":
		return source != "syscall"
	}
	return source == "" || source == "syscall"
}

// Events returns the event types that give the use r of a field a value, as far as the type alone decides. What it leaves out, never does.
func (r Ref) Events() EventSet {
	switch {
	case r.ID == EvtArg && r.Index >= 0:
		return eventsWhere(func(i *EventInfo) bool { return len(i.Params) > r.Index || i.Kind == Generic })
	case r.ID == EvtArg || r.ID == EvtRawarg:
		return ParamEvents(r.Arg)
	case inClass(r.ID, "fd"):
		return eventsWhere(func(i *EventInfo) bool { return i.Flags&(CreatesFD|UsesFD|DestroysFD) != 0 || i.Kind == Generic })
	case inClass(r.ID, "fs.path"):
		return pathEvents
	case inClass(r.ID, "k8saudit plugin") || inClass(r.ID, "json plugin"):
		return NewEventSet(EventPluginevent, EventAsyncevent)
	case inClass(r.ID, "process") || inClass(r.ID, "user") || inClass(r.ID, "group"):
		return eventsWhere(func(i *EventInfo) bool { return i.Kind != Plugin })
	}
	return AllEvents()
}

// pathEvents are the events that fs.path.* is about.
var pathEvents = NewEventSet(EventOpen, EventOpenat, EventOpenat2, EventCreat, EventMkdir, EventMkdirat, EventRmdir, EventUnlink, EventUnlinkat,
	EventChmod, EventFchmodat, EventChown, EventLchown, EventFchownat, EventRename, EventRenameat, EventRenameat2, EventLink, EventLinkat,
	EventSymlink, EventSymlinkat, EventMount, EventUmount, EventUmount2, EventOpenByHandleAt, EventMknod, EventMknodat, EventNewfstatat,
	EventStat, EventLstat, EventStat64, EventLstat64, EventQuotactl, EventFchmod, EventFchown)

func inClass(id ID, class string) bool { return id.Info().Class == class }

func eventsWhere(is func(*EventInfo) bool) EventSet {
	var s EventSet
	for i := 1; i < numEvents; i++ {
		if is(&eventInfos[i]) {
			s.Add(EventType(i))
		}
	}
	return s
}

// IsPath reports whether the value of r may differ between the two forms of a path. fd.nameraw, what the program passed, has one form.
func (r Ref) IsPath() bool {
	switch r.ID {
	case FDName, FDDirectory, FDFilename, FDContainername, FDContainerdirectory, FsPathName, FsPathSource, FsPathTarget, EvtAbspath,
		EvtArgs, EvtInfo, FdlistNames:
		return true
	case EvtArg, EvtRawarg:
		if r.Index >= 0 {
			return true
		}
		for t := range ParamEvents(r.Arg).All() {
			if _, p, _ := t.Param(r.Arg); p.Type == ParamPath || p.Type == ParamRelPath || p.Type == ParamString {
				return true
			}
		}
	}
	return false
}

// Given reports whether an event type that has the field exists at all, so that a rule using it may match something.
func (r Ref) Given() bool { return !r.Events().Empty() }
