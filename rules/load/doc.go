// Package load reads Falco rules files: it turns YAML into rules, macros and lists with exact source positions, applies appends, overrides
// and exceptions, replaces lists and macros in conditions, and reports what is wrong where it was written.
//
// It compiles nothing: what it returns are syntax trees, which package rules compiles and matches. Read Read first, then Report.
package load
