// Package runtime runs functions: it brings events to them (dispatch), decides whether they may act (guard), runs them (sandbox), does for
// them what they were granted (capability), and records all of it so that whoever takes over can go on (journal) and what was done
// can be undone (revert).
//
// Read Runtime first, then invocation.go for what happens to one event, and host.go for what happens to one call.
package runtime
