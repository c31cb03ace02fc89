// Package extract presents a kernel event to the rules: Event implements field.Event over an event.Event, the process that did it and the
// identity of its container, and renders every value as Falco does. Values are computed when asked for; what conditions commonly read
// allocates nothing.
//
// The table in fields.go says which fields are given, and by what; the tables in params.go do so for the arguments of calls. Read
// Extractor first.
//
// Where the values differ from Falco's, on purpose:
//
//   - Names that are not known (users, groups, containers, pods) are null, never "<NA>" or empty, so that a comparison with them is false.
//     Uid and gid 0 are root wherever no other name is known, as in Falco.
//   - A directory has fd.typechar d even if it was opened without O_DIRECTORY.
//   - fd.name of a unix socket is its path alone, and @name for an abstract one; Falco puts the addresses of two kernel objects before it.
//   - A connect that failed has its addresses: fd.sip and so on. In Falco they are null unless the call is still in progress.
//   - fd.lip, fd.rip and fd.is_server go by the role of the socket, not by the addresses that this host happens to have.
//   - fd.sip.name and its like are null for an address that none of the rules' names has; a comparison by != is then false.
//   - proc.name is the name at exec, whatever prctl made of it since; proc.p* and proc.a* are those of the time of the event.
//   - A request of io_uring that never completed counts as one that succeeded with 0; Falco does not see io_uring at all.
//   - evt.rawarg of ptrace's request and other enumerations is the kernel's number, not Falco's own.
//   - evt.args leaves out the arguments that are not given, such as an exec's memory sizes.
package extract
