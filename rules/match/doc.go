// Package match gives conditions their meaning. Compile turns a tree of package filter into a Program: fields resolved, values typed and
// checked, constants folded. A Program can be run by itself (Match), explained (Explain), walked (Root), or put with others into an Index,
// which matches one event against all of them at once.
//
// The semantics are Falco's. A comparison with a field that has no value is false, != included; not inverts it. Paths have two forms
// (field.Form): a condition is evaluated with all of its path fields bound to the first, and, where the forms differ, with all bound to the
// second; it matches if either does.
//
// Rules files, priorities and outputs are no matter of this package. Read Program first, then Index.
package match
