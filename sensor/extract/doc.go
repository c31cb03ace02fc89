// Package extract presents a kernel event to the rules: Event implements field.Event over an event.Event, the process that did it and the
// identity of its container, and renders every value as Falco does. Values are computed when asked for; what conditions commonly read
// allocates nothing.
//
// The table fields in fields.go says which fields are given, and by what; the tables in params.go do so for the arguments of calls. Read
// Extractor first.
package extract
